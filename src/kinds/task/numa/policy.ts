/** Converts NUMA memory policies between text and numbers (mm/mempolicy.c, uapi/linux/mempolicy.h). Pure. */
import { MPOL, MPOL_F } from '../../../kernel/constants/memory.ts';

/** A policy as set_mempolicy(2) and mbind(2) take it. */
export interface Policy {
  /** Mode and flags. */
  readonly mode: number;
  /** One bit for each node. */
  readonly nodes: bigint;
}

export const DEFAULT: Policy = { mode: MPOL.DEFAULT, nodes: 0n };

/** Size of a node mask in bits (more than any kernel's MAX_NUMNODES) and in bytes. */
export const MASK_BITS = 1024;
export const MASK_BYTES = MASK_BITS / 8;

/** The names that mpol_to_str() gives the modes. */
const MODES: Readonly<Record<string, number>> = {
  default: MPOL.DEFAULT,
  prefer: MPOL.PREFERRED,
  bind: MPOL.BIND,
  interleave: MPOL.INTERLEAVE,
  local: MPOL.LOCAL,
  'prefer (many)': MPOL.PREFERRED_MANY,
  'weighted interleave': MPOL.WEIGHTED_INTERLEAVE,
};
const FLAGS: Readonly<Record<string, number>> = {
  static: MPOL_F.STATIC_NODES,
  relative: MPOL_F.RELATIVE_NODES,
  balancing: MPOL_F.NUMA_BALANCING,
};

/**
 * The policy in a line of /proc/PID/numa_maps, `7f0000000000 bind=static:0-1 anon=3 …`, and where its mapping begins;
 * undefined for a line or words that this parser does not know. For a mapping without a policy the kernel shows the
 * task's.
 */
export function policyIn(line: string): (Policy & { readonly start: number }) | undefined {
  const found = /^([0-9a-f]+) (prefer \(many\)|weighted interleave|[a-z]+)(?:=([a-z|]+))?(?::([\d,-]+))?(?: |$)/.exec(
    line,
  );
  const [, start = '', name = '', flags, list] = found ?? [];
  let mode = MODES[name];
  if (mode === undefined) return undefined;
  for (const flag of flags?.split('|') ?? []) {
    const bit = FLAGS[flag];
    if (bit === undefined) return undefined;
    mode |= bit;
  }
  const nodes = nodesIn(list);
  return nodes === undefined ? undefined : { start: Number.parseInt(start, 16), mode, nodes };
}

/** The mask of a list of nodes such as `0-2,5`. */
function nodesIn(list: string | undefined): bigint | undefined {
  let nodes = 0n;
  for (const part of list?.split(',') ?? []) {
    const [first = 0, last = first] = part.split('-').map(Number);
    if (!(first <= last && last < MASK_BITS)) return undefined;
    for (let node = first; node <= last; node++) nodes |= 1n << BigInt(node);
  }
  return nodes;
}

/** A node mask in the kernel's form. */
export function encodeMask(nodes: bigint): Uint8Array {
  const words = new BigUint64Array(MASK_BYTES / 8);
  for (let i = 0; i < words.length; i++) words[i] = nodes >> BigInt(64 * i);
  return new Uint8Array(words.buffer);
}

export function decodeMask(bytes: Uint8Array): bigint {
  let nodes = 0n;
  bytes.forEach((byte, i) => {
    nodes |= BigInt(byte) << BigInt(8 * i);
  });
  return nodes;
}
