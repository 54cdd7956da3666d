/**
 * Stopping tasks again that were stopped. Their parents are told of it by SIGCHLD, and of what they were told before
 * the dump only their pending signals are to speak; so tasks stop, for their tracer as well, before their parents are
 * finished.
 */
import { logDebug } from '../base/log.ts';
import type { RestoreTask } from '../contract/contract.ts';
import { TaskState } from '../images/schema/task.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { syscall } from '../kernel/syscall.ts';
import { threadDoors } from '../kinds/registry.ts';
import { endedError, nap, PTRACE, ptrace, type Stop, setSignalMask, waitStop } from '../tracee/ptrace.ts';
import type { Tracee } from '../tracee/tracee.ts';

/** What has to be seen to in a thread that has just been stopped, even if it is let go again at once. */
export function onStopped(tracee: Tracee): void {
  for (const doors of threadDoors) doors.stopped?.(tracee);
}

const SIGSTOP = 19;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;

/** The signal a task was stopped by; undefined for one that runs. */
export function stopSignalOf({ core }: RestoreTask): number | undefined {
  return core.tc?.task_state === TaskState.STOPPED ? (core.tc.stop_signo ?? SIGSTOP) : undefined;
}

/**
 * Puts a task whose threads all stand in an interrupt's stop into a group stop, from which it does not return when it
 * is let go. Masks are to be set afterwards.
 */
export function stopGroup(task: RestoreTask, signal: number): void {
  const [main, ...others] = task.threads;
  if (!main) return;
  if (!stopBy(main.tracee, task.pid, signal)) {
    // The kernel lets no orphaned process group stop but by SIGSTOP.
    logDebug(`task ${task.pid} cannot be stopped by signal ${signal}; by SIGSTOP it can`);
    stopBy(main.tracee, task.pid, SIGSTOP);
  }
  for (const { tracee } of others) {
    ptrace(PTRACE.CONT, tracee.pid);
    awaitStop(tracee, (stop) => stop.kind === 'event');
  }
}

/** Has the main thread take a stop signal as if it had been sent; answers whether the process stopped. */
function stopBy(main: Tracee, pid: number, signal: number): boolean {
  setSignalMask(pid, ALL_SIGNALS & ~(1n << BigInt(signal - 1)));
  // SIGSTOP always arrives; its delivery is then turned into that of the other.
  syscall('tgkill', pid, pid, SIGSTOP);
  ptrace(PTRACE.CONT, pid);
  awaitStop(main, (stop) => stop.kind === 'signal' && stop.signal === SIGSTOP);
  // Should the signal be discarded, the task must not run.
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
 * Milliseconds. It takes a stopped thread some microseconds to find that it is nobody's any more, and to stand as
 * before.
 */
const PATIENCE = 50;
const NAP_NS = 20_000;

/** Waits until stopped tasks that have been let go stand still without us, so that no relative sees them run. */
export function awaitStopped(pids: readonly number[]): void {
  const end = performance.now() + PATIENCE;
  for (const pid of pids) {
    while (stateOf(pid) !== 'T' && performance.now() < end) nap(NAP_NS);
  }
}

/** `T` as well for one that is no more. */
function stateOf(pid: number): string {
  return unlessGone(() => parseStat(readProc(pid, 'stat')).state) ?? 'T';
}
