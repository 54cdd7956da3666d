/** Finds room in the memory of a task for the code that enters and leaves it. */

import type { Arch, LeftCave } from '../arch/arch.ts';
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { Fd } from '../kernel/syscall.ts';
import { forceRead } from './memory.ts';

/** The properties of a mapping that are needed to find a place for the cave and a gap for the work area. */
export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** PROT_* bits. */
  readonly prot: number;
  readonly shared: boolean;
  readonly name: string;
}

/** Sizes in bytes of the leader's cave, and of a visited thread's exit code, which lies below it. */
export const CAVE_SIZE = 896;
export const WAY_OUT_SIZE = 256;

/** A place for a cave, and the code that a killed Stasis has left there, if any. */
export interface Place {
  readonly at: number;
  readonly left: LeftCave | undefined;
}

/** What is behind the end of an executable mapping. */
const NOTHING = new Uint8Array(CAVE_SIZE);

/**
 * The zero tail of the vdso or, failing that, of another private executable mapping. A cave that a killed Stasis left
 * behind is used again if no thread is in it.
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
    if (Buffer.compare(tail, NOTHING) === 0) return { at, left: undefined };
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
