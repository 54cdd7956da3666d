/**
 * Puts tasks that were in a group stop at the dump into a group stop again. The kernel tells their parents by SIGCHLD.
 * So that only the saved pending signals reach the parents, tasks are stopped before their parents are finished.
 */

import type { HostPid } from '../base/brands.ts';
import { logDebug } from '../base/log.ts';
import type { RestoreTask } from '../contract/contract.ts';
import { TaskState } from '../images/schema/task.ts';
import { ALL_SIGNALS, SIG, signalBit } from '../kernel/constants/signals.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { syscall } from '../kernel/syscall.ts';
import { threadDoors } from '../kinds/registry.ts';
import { endedError, nap, PTRACE, ptrace, type Stop, setSignalMask, waitStop } from '../tracee/ptrace.ts';
import type { Tracee } from '../tracee/tracee.ts';

/** Calls the `stopped` doors for a thread that has just stopped, even if it is released again at once. */
export function onStopped(tracee: Tracee): void {
  for (const doors of threadDoors) doors.stopped?.(tracee);
}

/** The signal that stopped a task; undefined for a task that runs. */
export function stopSignalOf({ core }: RestoreTask): number | undefined {
  return core.tc?.task_state === TaskState.STOPPED ? (core.tc.stop_signo ?? SIG.STOP) : undefined;
}

/**
 * Puts a task into a group stop, in which it stays after it is detached. All its threads must be in a stop by
 * PTRACE_INTERRUPT. Signal masks have to be set afterwards.
 */
export function stopGroup(task: RestoreTask, signal: number): void {
  const [main, ...others] = task.threads;
  if (!main) return;
  if (!stopBy(main.tracee, signal)) {
    // The kernel stops an orphaned process group by SIGSTOP only.
    logDebug(`task ${task.pid} cannot be stopped by signal ${signal}; by SIGSTOP it can`);
    stopBy(main.tracee, SIG.STOP);
  }
  for (const { tracee } of others) {
    ptrace(PTRACE.CONT, tracee.pid);
    awaitStop(tracee, (stop) => stop.kind === 'event');
  }
}

/** Makes the main thread take a stop signal as if it had been sent. Returns whether the process stopped. */
function stopBy(main: Tracee, signal: number): boolean {
  const { pid } = main;
  setSignalMask(pid, ALL_SIGNALS & ~signalBit(signal));
  // SIGSTOP always arrives; the tracer then replaces it by the other signal.
  syscall('tgkill', pid, pid, SIG.STOP);
  ptrace(PTRACE.CONT, pid);
  awaitStop(main, (stop) => stop.kind === 'signal' && stop.signal === SIG.STOP);
  // If the kernel discards the signal, the interrupt keeps the task from running.
  ptrace(PTRACE.INTERRUPT, pid);
  ptrace(PTRACE.CONT, pid, 0, signal);
  const stop = awaitStop(main, (candidate) => candidate.kind === 'event');
  return stop.kind === 'event' && stop.signal === signal;
}

function awaitStop(tracee: Tracee, wanted: (stop: Stop) => boolean): Stop {
  for (;;) {
    const stop = waitStop(tracee.pid);
    if (stop.kind === 'exited' || stop.kind === 'killed') throw endedError(tracee.pid, stop);
    if (wanted(stop)) return stop;
    ptrace(PTRACE.CONT, tracee.pid);
  }
}

/**
 * Milliseconds. A stopped thread needs some microseconds after the detach until it is in its group stop again.
 */
const PATIENCE = 50;
const NAP_NS = 20_000;

/** Waits until detached tasks are in their group stop again, so that no parent or child sees them run. */
export function awaitStopped(pids: readonly HostPid[]): void {
  const end = performance.now() + PATIENCE;
  for (const pid of pids) {
    while (stateOf(pid) !== 'T' && performance.now() < end) nap(NAP_NS);
  }
}

/** The state letter of a process; `T` also for one that has ended. */
function stateOf(pid: HostPid): string {
  return unlessGone(() => parseStat(readProc(pid, 'stat')).state) ?? 'T';
}
