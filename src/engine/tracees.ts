/** Operations on tracees by their TIDs. */
import type { HostPid } from '../base/brands.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { arenaAddress } from '../kernel/syscall.ts';
import { nap, PTRACE, pollStop, tryPtrace } from '../tracee/ptrace.ts';
import type { Tracee } from '../tracee/tracee.ts';

/** Milliseconds to wait for dying tracees to be dead. */
const LAST_WAIT = 200;
/** Nanoseconds between two checks of them. */
const PAUSE = 20_000;

/**
 * Detaches tracees. One of them may execute a program at once, which waits until the other threads of its process are
 * dead and reaped by their tracer. So tracees that are dying are waited for, for a short time.
 */
export function letGo(tracees: readonly Tracee[]): void {
  let dying = tracees.filter((tracee) => !tracee.detach());
  for (const end = performance.now() + LAST_WAIT; dying.length > 0 && performance.now() < end; nap(PAUSE)) {
    dying = dying.filter(({ pid }) => pollStop(pid) === 'none');
  }
}

/** Whether a tracee of ours is stopped. */
export function stands(tid: HostPid): boolean {
  return tryPtrace(PTRACE.GETEVENTMSG, tid, 0, arenaAddress) === 0;
}

/** Reaps a dead tracee. A dead child that is not traced by us is left to whoever waits for it. */
export function buryIfOurs(tid: HostPid): void {
  if (unlessGone(() => parseStatus(readProc(tid, 'status')).tracerPid) === process.pid) pollStop(tid);
}

/** Whether it is a process with memory, that is neither a kernel thread (cgroups may contain some) nor a zombie. */
export function isProgram(pid: HostPid): boolean {
  return unlessGone(() => parseStatus(readProc(pid, 'status')).hasMemory) ?? false;
}
