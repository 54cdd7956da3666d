/** Checks whether a stopped task can execute injected code at all, before anything in it is changed. */
import { StasisError } from '../base/errors.ts';
import { getSyscallDispatch } from './ptrace.ts';
import type { Tracee } from './tracee.ts';

/**
 * Refuses tasks that injected code would harm. Only a tracer can see this, so the preflight cannot report it.
 * @throws StasisError kind 'unsupported'
 */
export function requireInjectable(tracee: Tracee): void {
  // System calls from addresses that the program has not allowed would become SIGSYS, which is forced and kills the
  // program.
  if (!getSyscallDispatch(tracee.pid)) return;
  throw new StasisError({
    kind: 'unsupported',
    code: 'SYSCALL_DISPATCH',
    task: { pid: tracee.pid },
    reason: 'the process catches its own system calls (PR_SET_SYSCALL_USER_DISPATCH)',
    remedy: 'stop what emulates system calls in it, such as Wine',
  });
}
