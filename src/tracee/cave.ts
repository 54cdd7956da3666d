/** Where in somebody's memory the ways in and out can lie, and whether somebody is still on them. */

import { CAVE_MARK } from '../arch/arch.ts';
import { StasisError } from '../base/errors.ts';
import type { Fd } from '../kernel/syscall.ts';
import { forceRead } from './memory.ts';
import { AREA } from './program.ts';
import type { Tracee } from './tracee.ts';

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

/**
 * The zero tail of the vdso or, failing that, of another private executable mapping. A cave that a tracer of ours died
 * in is there still, and serves again; but not while a thread is on its way out of it.
 */
export function findCave(tgid: number, tracees: readonly Tracee[], mem: Fd, maps: readonly Mapping[]): number {
  const executable = maps.filter((m) => (m.prot & 4) !== 0 && !m.shared && m.name !== '[vsyscall]');
  const candidates = [
    ...executable.filter((m) => m.name === '[vdso]'),
    ...executable.filter((m) => m.name !== '[vdso]'),
  ];
  const tail = new Uint8Array(CAVE_SIZE);
  for (const mapping of candidates) {
    const at = mapping.end - CAVE_SIZE;
    if (at < mapping.start || forceRead(mem, at, tail) !== CAVE_SIZE) continue;
    if (tail.every((byte) => byte === 0)) return at;
    if (!CAVE_MARK.every((byte, i) => tail[i] === byte)) continue;
    const area = Number(new DataView(tail.buffer).getBigUint64(CAVE_MARK.length, true));
    const guest = tracees.find((tracee) => isInside(tracee, at, area, mem, maps));
    if (guest) throw walkingOut(guest.pid);
    return at;
  }
  throw new StasisError({
    kind: 'unsupported',
    code: 'NO_ROOM_FOR_CODE',
    task: { pid: tgid },
    reason: 'no executable mapping has room for the code that lets Stasis in and out',
  });
}

/** Of a stack, where a handler's frame is looked for. */
const LOOKED_AT = 256 * 1024;

/**
 * Whether a thread is in a cave that was left behind, or in the area that belongs to it, or will be back in the cave when a
 * signal handler returns: signals that were pending come when the thread has its mask again, on its last steps.
 */
function isInside(tracee: Tracee, cave: number, area: number, mem: Fd, maps: readonly Mapping[]): boolean {
  const { arch } = tracee;
  const registers = tracee.getRegisters();
  const pc = Number(arch.pc(registers));
  const isIn = (start: number, length: number): boolean => pc >= start && pc < start + length;
  if (isIn(cave, CAVE_SIZE) || isIn(area, AREA.code)) return true;
  const sp = Number(arch.sp(registers) & ~7n);
  const end = maps.find((m) => sp >= m.start && sp < m.end)?.end ?? sp;
  const words = new Uint32Array(Math.min(end - sp, LOOKED_AT) / 4);
  const got = forceRead(mem, sp, new Uint8Array(words.buffer));
  return arch.returnsInto(words.subarray(0, Math.max(0, got) / 4), cave, cave + CAVE_SIZE);
}

function walkingOut(pid: number): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'TASK_HAS_STASIS_CODE',
    task: { pid },
    reason: 'the task is about to leave the code of a Stasis that was killed a moment ago',
    remedy: 'try again',
  });
}
