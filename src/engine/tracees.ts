/** What is asked of tracees, and done with them, by their ids alone. */
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { arenaAddress } from '../kernel/syscall.ts';
import { nap, PTRACE, pollStop, tryPtrace } from '../tracee/ptrace.ts';
import type { Tracee } from '../tracee/tracee.ts';

/** Milliseconds it may take until tracees that are dying are dead. */
const LAST_WAIT = 200;
/** Nanoseconds between two looks at them. */
const PAUSE = 20_000;

/**
 * Lets tasks go on. One of them may execute a program at once, and waits for the others of its process to be dead and
 * buried: so those that have died instead are, if that takes no longer than it should.
 */
export function letGo(tracees: readonly Tracee[]): void {
  let dying = tracees.filter((tracee) => !tracee.detach());
  for (const end = performance.now() + LAST_WAIT; dying.length > 0 && performance.now() < end; nap(PAUSE)) {
    dying = dying.filter(({ pid }) => pollStop(pid) === 'none');
  }
}

/** Whether a tracee of ours is stopped. */
export function stands(tid: number): boolean {
  return tryPtrace(PTRACE.GETEVENTMSG, tid, 0, arenaAddress) === 0;
}

/** Takes note of a dead tracee of ours; a dead child of ours that is none is somebody else's to wait for. */
export function buryIfOurs(tid: number): void {
  if (unlessGone(() => parseStatus(readProc(tid, 'status')).tracerPid) === process.pid) pollStop(tid);
}

/** Whether it is a process with memory: no kernel thread, which may be in a cgroup as well, and no zombie. */
export function isProgram(pid: number): boolean {
  return unlessGone(() => parseStatus(readProc(pid, 'status')).hasMemory) ?? false;
}
