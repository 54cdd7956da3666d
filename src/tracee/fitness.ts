/** Whether a stopped task can execute code of ours at all. Looked at before anything of it is touched. */
import { StasisError } from '../base/errors.ts';
import { getSyscallDispatch } from './ptrace.ts';
import type { Tracee } from './tracee.ts';

/**
 * What would make code of ours harm the task. Only its tracer is told, so that no preflight knows.
 * @throws StasisError kind 'unsupported'
 */
export function requireFit(tracee: Tracee): void {
  // Our system calls, from addresses the program has not allowed, would be signals to it (SIGSYS, forced: deadly).
  if (!getSyscallDispatch(tracee.pid)) return;
  throw new StasisError({
    kind: 'unsupported',
    task: { pid: tracee.pid },
    reason: 'the process catches its own system calls (PR_SET_SYSCALL_USER_DISPATCH)',
    remedy: 'stop what emulates system calls in it, such as Wine',
  });
}
