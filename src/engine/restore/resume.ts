/** The last steps of a restore: removes everything of Stasis from the tasks, and lets them run. */

import type { Registers } from '../../arch/arch.ts';
import { NR } from '../../arch/syscall-numbers.ts';
import { StasisError } from '../../base/errors.ts';
import type { Departure, RestoreTask, RestoreThread } from '../../contract/contract.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseSmaps } from '../../kernel/proc/smaps.ts';
import { syscall } from '../../kernel/syscall.ts';
import { threadDoors } from '../../kinds/registry.ts';
import { tryReadMemory } from '../../tracee/memory.ts';
import { AREA } from '../../tracee/program.ts';
import { PTRACE, ptrace, setSignalMask } from '../../tracee/ptrace.ts';
import type { Tracee } from '../../tracee/tracee.ts';
import { awaitStopped, stopGroup, stopSignalOf } from '../stops.ts';
import { letGo } from '../tracees.ts';

/** A thread and its final registers. */
interface FinalState {
  readonly thread: RestoreThread;
  readonly registers: Registers;
}

/** Runs the last steps of a task that is to be in a group stop. */
export function stopTask(task: RestoreTask): void {
  const finals = task.threads.map(finalStateOf);
  unmapArea(task);
  setFinalRegisters(finals);
  stopGroup(task, stopSignalOf(task) ?? SIG.STOP);
  for (const { thread } of finals) mask(thread);
}

/**
 * Lets restored tasks run. `stopped` are the tasks that {@link stopTask} has finished. After the first detach there is
 * no way back.
 * @throws StasisError
 */
export function resume(
  tasks: readonly RestoreTask[],
  stopped: ReadonlySet<RestoreTask>,
  options: { readonly leaveStopped: boolean },
): void {
  const left = tasks.filter((task) => !stopped.has(task));
  const finals = left.flatMap(({ threads }) => threads.map(finalStateOf));
  // Each address space has one work area; by now all tasks that share it have used it for the last time.
  for (const task of left) if (!task.shares.vm) unmapArea(task);
  setFinalRegisters(finals);
  for (const task of left) stopAgain(task, options.leaveStopped);
  // Detaching takes time, since the tasks run at once. So PTRACE_O_EXITKILL is removed from all first: if Stasis is
  // killed after this, all tasks continue.
  for (const { threads } of tasks) for (const { tracee } of threads) tracee.outliveUs();
  for (const { threads } of stopped) for (const { tracee } of threads) tracee.detach();
  awaitStopped([...stopped].map(({ tracee }) => tracee.pid));
  releaseAll(finals.map(({ thread }) => thread.tracee));
}

/**
 * Lets all threads run. When the first one runs, the restore has succeeded: it may end its process, or another one,
 * before the others run.
 */
function releaseAll([first, ...others]: readonly Tracee[]): void {
  first?.setFree();
  letGo(others);
}

function finalStateOf(thread: RestoreThread): FinalState {
  const departure: Departure = {};
  for (const doors of threadDoors) doors.depart?.(thread, departure);
  const { registers } = departure;
  if (registers) return { thread, registers };
  throw new StasisError({ kind: 'internal', task: thread.ref, reason: 'no kind has its registers' });
}

/**
 * Sets registers and signal masks of threads in a stop by PTRACE_INTERRUPT, from which the kernel restarts interrupted
 * calls.
 */
function setFinalRegisters(finals: readonly FinalState[]): void {
  for (const { thread } of finals) {
    ptrace(PTRACE.INTERRUPT, thread.tracee.pid);
    ptrace(PTRACE.CONT, thread.tracee.pid);
  }
  for (const { thread, registers } of finals) {
    thread.tracee.waitUntil(PTRACE.CONT, (stop) => stop.kind === 'event');
    mask(thread);
    thread.tracee.setRegisters(registers);
  }
}

function mask({ tracee, core }: RestoreThread): void {
  setSignalMask(tracee.pid, core.thread_core?.blk_sigset ?? core.tc?.blk_sigset ?? 0n);
}

function stopAgain(task: RestoreTask, leaveStopped: boolean): void {
  const signal = leaveStopped ? SIG.STOP : stopSignalOf(task);
  if (signal !== undefined) syscall('kill', task.tracee.pid, signal);
}

/** Unmaps the work area by a `syscall` instruction in the task's own memory. */
function unmapArea(task: RestoreTask): void {
  const { tracee, remote } = task;
  const at = findSyscall(task);
  const base = tracee.getRegisters();
  tracee.setRegisters(tracee.arch.oneCall(base, at, NR.munmap, [remote.area, AREA.length]));
  const result = tracee.passSyscall();
  if (result !== 0) throw new StasisError({ kind: 'kernel', task: task.ref, reason: `the work area stays: ${result}` });
}

/** The address of a `syscall` instruction in the task's executable memory. The vdso has one, libc many. */
function findSyscall(task: RestoreTask): number {
  const { area } = task.remote;
  const wanted = Buffer.from(task.tracee.arch.syscallInstruction);
  const executable = parseSmaps(readProc(task.tracee.pid, 'maps')).filter(
    (vma) => (vma.prot & 5) === 5 && vma.start !== area,
  );
  executable.sort((a, b) => Number(b.name === '[vdso]') - Number(a.name === '[vdso]'));
  const chunk = new Uint8Array(64 * 1024);
  for (const vma of executable) {
    for (let at = vma.start; at < vma.end; at += chunk.length - 1) {
      const got = tryReadMemory(task.tracee.pid, at, chunk, Math.min(chunk.length, vma.end - at));
      const found = got > 0 ? Buffer.from(chunk.buffer, 0, got).indexOf(wanted) : -1;
      if (found >= 0) return at + found;
      if (got < chunk.length) break;
    }
  }
  throw new StasisError({
    kind: 'unsupported',
    code: 'NO_ROOM_FOR_CODE',
    task: task.ref,
    reason: 'the saved address space has no syscall instruction through which the work area could be given back',
  });
}
