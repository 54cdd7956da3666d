/**
 * `/proc/PID/auxv` (fs/proc/base.c, `auxv_read()`): the auxiliary vector that the program got at exec, as pairs of
 * 64-bit words.
 */

import { AUX } from '../constants/tasks.ts';
import { malformed } from './common.ts';

const FILE = '/proc/PID/auxv';

/** One entry: an `AT_*` type and its value. */
export interface AuxEntry {
  readonly type: number;
  readonly value: bigint;
}

/**
 * All 64-bit words as they are, the terminating `AT_NULL` pair and the unused rest included, as `PR_SET_MM_MAP` and
 * images want them. Empty for kernel threads and zombies. Throws `kernel` when the size is not a multiple of 16.
 */
export function auxvWords(bytes: Uint8Array): bigint[] {
  if (bytes.length % 16 !== 0) throw malformed(FILE, `${bytes.length} bytes are no whole pairs`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: bigint[] = [];
  for (let at = 0; at < bytes.length; at += 8) out.push(view.getBigUint64(at, true));
  return out;
}

/** The entries up to `AT_NULL`, without it. Throws `kernel` when the size is not a multiple of 16. */
export function parseAuxv(bytes: Uint8Array): AuxEntry[] {
  const words = auxvWords(bytes);
  const out: AuxEntry[] = [];
  for (let i = 0; i + 1 < words.length; i += 2) {
    const type = words[i] as bigint; // in range
    if (type === BigInt(AUX.NULL)) break;
    out.push({ type: Number(type), value: words[i + 1] as bigint });
  }
  return out;
}

/** The value of the first entry of a type. */
export function auxValue(entries: readonly AuxEntry[], type: number): bigint | undefined {
  return entries.find((e) => e.type === type)?.value;
}
