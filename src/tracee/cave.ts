/** Where in somebody's memory the ways in and out can lie. */

import type { Arch, LeftCave } from '../arch/arch.ts';
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { Fd } from '../kernel/syscall.ts';
import { forceRead } from './memory.ts';

/** What must be known of a mapping to find a place for the cave and a gap for the area. */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** PROT_* bits. */
  readonly prot: number;
  readonly shared: boolean;
  readonly name: string;
}

/** Room for the leader's ways, and below them for a visited thread's way out. */
export const CAVE_SIZE = 896;
export const WAY_OUT_SIZE = 256;

/** Where a cave can be, and what a Stasis that was killed has left there. */
export interface Place {
  readonly at: number;
  readonly left: LeftCave | undefined;
}

/**
 * The zero tail of the vdso or, failing that, of another private executable mapping. A cave that a tracer of ours died
 * in is there still, and serves again, when no thread is in it.
 */
export function findCave(tgid: HostPid, arch: Arch, mem: Fd, maps: readonly Mapping[]): Place {
  const executable = maps.filter((m) => (m.prot & 4) !== 0 && !m.shared && m.name !== '[vsyscall]');
  const candidates = [
    ...executable.filter((m) => m.name === '[vdso]'),
    ...executable.filter((m) => m.name !== '[vdso]'),
  ];
  const tail = new Uint8Array(CAVE_SIZE);
  for (const mapping of candidates) {
    const at = mapping.end - CAVE_SIZE;
    if (at < mapping.start || forceRead(mem, at, tail) !== CAVE_SIZE) continue;
    if (tail.every((byte) => byte === 0)) return { at, left: undefined };
    const left = arch.readCave(tail, at, at + CAVE_SIZE - WAY_OUT_SIZE);
    if (left) return { at, left };
  }
  throw new StasisError({
    kind: 'unsupported',
    code: 'NO_ROOM_FOR_CODE',
    task: { pid: tgid },
    reason: 'no executable mapping has room for the code that lets Stasis in and out',
  });
}
