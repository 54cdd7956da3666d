/** The last steps of a restore: removes everything of Stasis from the tasks, and lets them run. */

import type { Registers } from '../../arch/arch.ts';
import { NR } from '../../arch/syscall-numbers.ts';
import { StasisError } from '../../base/errors.ts';
import type { Departure, RestoreContext, RestoreTask, RestoreThread } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { VmaStatus } from '../../images/schema/memory.ts';
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
  setFinalRegisters(finals, [task]);
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
  setFinalRegisters(
    finals,
    left.filter(({ shares }) => !shares.vm),
  );
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
 * calls. On their way there the main threads of `owners` unmap the work areas. All threads are on their way at the same
 * time.
 */
function setFinalRegisters(finals: readonly FinalState[], owners: readonly RestoreTask[]): void {
  for (const task of owners) beginUnmapping(task);
  for (const { tracee } of owners) tracee.waitUntil(PTRACE.SYSCALL, (stop) => stop.kind === 'syscall');
  for (const { thread } of finals) {
    // A thread at the entry of munmap, which does not sleep interruptibly, makes the call before it stops.
    ptrace(PTRACE.INTERRUPT, thread.tracee.pid);
    ptrace(PTRACE.CONT, thread.tracee.pid);
  }
  for (const { thread } of finals) thread.tracee.waitUntil(PTRACE.CONT, (stop) => stop.kind === 'event');
  for (const task of owners) requireUnmapped(task);
  for (const { thread, registers } of finals) {
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

/** Sends the main thread to the entry of munmap, by a `syscall` instruction in the task's own memory. */
function beginUnmapping(task: RestoreTask): void {
  const { tracee, remote } = task;
  const { arch } = tracee;
  const at = syscallPlace(task);
  tracee.setRegisters(arch.oneCall(tracee.getRegisters(), at, NR.munmap, [remote.area, AREA.length]));
  ptrace(PTRACE.SYSCALL, tracee.pid);
}

function requireUnmapped(task: RestoreTask): void {
  const { arch } = task.tracee;
  const result = arch.result(task.tracee.getRegisters());
  if (result !== 0) throw new StasisError({ kind: 'kernel', task: task.ref, reason: `the work area stays: ${result}` });
}

/** Where a task of the tree was found to have a `syscall` instruction, in bytes from the start of its vdso. */
const IN_VDSO = new Slot((_: RestoreContext): { offset?: number } => ({}));

/** The address of a `syscall` instruction, which in most tasks is at the same place of the vdso. */
function syscallPlace(task: RestoreTask): number {
  const { tracee, mm, context } = task;
  const known = IN_VDSO.of(context);
  const vdso = mm.vmas.find(({ status }) => status & VmaStatus.VDSO);
  const instruction = tracee.arch.syscallInstruction;
  if (vdso && known.offset !== undefined) {
    const at = Number(vdso.start) + known.offset;
    const there = new Uint8Array(instruction.length);
    if (tryReadMemory(tracee.pid, at, there, there.length) === there.length && Buffer.compare(there, instruction) === 0)
      return at;
  }
  const at = findSyscall(task);
  if (vdso && at >= vdso.start && at < vdso.end) known.offset = at - Number(vdso.start);
  return at;
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
