/**
 * Threads that are still in the cave or the work area of a Stasis that was killed: they were in a group stop as soon as
 * nobody traced them any more, or sleep in a call they were given. Such threads are put back where they were found,
 * with the registers and the mask that the cave holds.
 */

import { type LeftCave, LIMITS_MARK, type SavedState } from '../arch/arch.ts';
import type { Fd } from '../kernel/syscall.ts';
import { mayBeOurs } from './bell.ts';
import { CAVE_SIZE, type Mapping } from './cave.ts';
import { LIMITS_SIZE } from './headroom.ts';
import { forceRead, forceWrite } from './memory.ts';
import { AREA } from './program.ts';
import { PTRACE, ptrace } from './ptrace.ts';
import { StrandedError } from './stranded.ts';
import type { Tracee } from './tracee.ts';

/** A cave that a killed Stasis has left behind, and its address. */
export interface FoundCave {
  readonly at: number;
  readonly left: LeftCave;
}

/**
 * Puts back all stranded threads. `tracees` are all threads that share the memory; all are stopped.
 * @throws StrandedError if there were any, or one will come back to the cave
 */
export function rescueStranded(cave: FoundCave, tracees: readonly Tracee[], mem: Fd, maps: readonly Mapping[]): void {
  const inside = tracees.filter((tracee) => isInside(tracee, cave));
  const returning = tracees.find(
    (tracee) => !inside.includes(tracee) && (willReturn(tracee, cave.at, mem, maps) || isAtLimits(tracee, mem, maps)),
  );
  if (inside.length > 0) leadOut(cave, inside, mem);
  if (returning) throw isReturning(returning.pid);
  if (inside.length === 0) return;
  throw new StrandedError({
    kind: 'conflict',
    code: 'TASK_HAS_STASIS_CODE',
    task: { pid: inside[0]?.pid ?? 0 },
    reason: 'the task was still in the code of a Stasis that was killed, and has been led out of it',
    remedy: 'try again',
  });
}

function isIn(pc: number, start: number, length: number): boolean {
  return pc >= start && pc < start + length;
}

function pcOf(tracee: Tracee): number {
  return Number(tracee.arch.pc(tracee.getRegisters()));
}

function isInside(tracee: Tracee, { at, left }: FoundCave): boolean {
  const pc = pcOf(tracee);
  return isIn(pc, at, CAVE_SIZE) || isIn(pc, left.area, AREA.code);
}

/**
 * Whether a thread is in the code that restores raised limits: see headroom.ts. It leaves this code soon if it runs.
 */
function isAtLimits(tracee: Tracee, mem: Fd, maps: readonly Mapping[]): boolean {
  const pc = pcOf(tracee);
  const end = maps.find((m) => pc >= m.start && pc < m.end)?.end ?? 0;
  if (!isIn(pc, end - CAVE_SIZE - LIMITS_SIZE, LIMITS_SIZE)) return false;
  const mark = new Uint8Array(LIMITS_MARK.length);
  forceRead(mem, end - CAVE_SIZE - mark.length, mark);
  return LIMITS_MARK.every((byte, i) => mark[i] === byte);
}

/** Bytes of a stack that are searched for signal frames. */
const LOOKED_AT = 256 * 1024;

/**
 * Whether a thread will return into the cave from a signal handler: pending signals are delivered when the thread gets
 * its own mask back, during its last steps in the cave.
 */
function willReturn(tracee: Tracee, cave: number, mem: Fd, maps: readonly Mapping[]): boolean {
  const { arch } = tracee;
  const sp = Number(arch.sp(tracee.getRegisters()) & ~7n);
  const end = maps.find((m) => sp >= m.start && sp < m.end)?.end ?? sp;
  const words = new Uint32Array(Math.min(end - sp, LOOKED_AT) / 4);
  const got = forceRead(mem, sp, new Uint8Array(words.buffer));
  return arch.returnsInto(words.subarray(0, Math.max(0, got) / 4), cave, cave + CAVE_SIZE);
}

function isReturning(pid: number): StrandedError {
  return new StrandedError({
    kind: 'conflict',
    code: 'TASK_HAS_STASIS_CODE',
    task: { pid },
    reason: 'the task is about to leave the code of a Stasis that was killed: it has to run for a moment',
    remedy: `try again when its signal handler has returned; if it is stopped, let it go on before (kill -CONT ${pid})`,
  });
}

/** Leads threads out, visited threads first, since the leader unmaps the area. */
function leadOut({ at, left }: FoundCave, inside: readonly Tracee[], mem: Fd): void {
  const leaders = inside.filter((tracee) => isLeader(tracee, left));
  for (const tracee of inside) if (!leaders.includes(tracee)) putBack(tracee, left.guest);
  for (const tracee of leaders) {
    ptrace(PTRACE.POKEDATA, tracee.pid, left.claim, 0);
    takeToLastCall(tracee, left);
    putBack(tracee, left.leader);
  }
  forceWrite(mem, at, new Uint8Array(CAVE_SIZE));
}

/** Whether a thread is the leader. Inside of the area the exit address that the interpreter holds tells. */
function isLeader(tracee: Tracee, left: LeftCave): boolean {
  const pc = pcOf(tracee);
  if (isIn(pc, left.area, AREA.code)) return tracee.arch.wayOutOf(tracee.getRegisters()) === left.leave;
  return pc < left.guest.enter;
}

/** Runs the leader through the exit code, up to the call that restores its own mask. */
function takeToLastCall(tracee: Tracee, left: LeftCave): void {
  const { quiet } = left;
  const pc = pcOf(tracee);
  if (quiet && isIn(pc, quiet.depart, quiet.unmapped - quiet.depart)) {
    // It was on its way out, and has not unmapped the area.
    tracee.setRegisters(tracee.arch.jump(tracee.getRegisters(), left.leave));
    takeToLastCall(tracee, left);
    return;
  }
  if (pc >= left.maskSet && pc < left.guest.enter) return;
  // A leader that was still entering continues where it is, and reaches the exit code by itself.
  if (isIn(pc, left.area, AREA.code)) tracee.setRegisters(tracee.arch.jump(tracee.getRegisters(), left.leave));
  for (;;) {
    tracee.passSyscallStop();
    if (pcOf(tracee) === left.maskSet) break;
    tracee.passSyscallStop();
  }
  // On its way in it may have rung the bell, which is not to reach the program when it is let go.
  tracee.discard((info) => quiet !== undefined && isBell(info, left.bell));
}

/** Whether a signal was sent by tgkill(2) and is this one. */
function isBell(info: Uint8Array, bell: number): boolean {
  const view = new DataView(info.buffer, info.byteOffset);
  return view.getInt32(0, true) === bell && mayBeOurs(info);
}

function putBack(tracee: Tracee, saved: SavedState): void {
  tracee.putBack(saved.registers(tracee.getRegisters()), saved.mask);
}
