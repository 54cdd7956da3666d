/** The signal mask of our main thread. */
import { ALL_SIGNALS, SIG_HOW, SIGSET_SIZE } from '../kernel/constants/signals.ts';
import { arenaAddress, arenaView, syscall } from '../kernel/syscall.ts';

/**
 * Makes one call while all signals are blocked, so that a child that it makes runs no handler of ours. The first 16
 * bytes of the arena are used, also after the call. @throws SyscallError
 */
export function withSignalsBlocked(call: () => number): number {
  arenaView.setBigUint64(0, ALL_SIGNALS, true);
  syscall('rt_sigprocmask', SIG_HOW.SETMASK, arenaAddress, arenaAddress + 8, SIGSET_SIZE);
  const outcome = call();
  syscall('rt_sigprocmask', SIG_HOW.SETMASK, arenaAddress + 8, 0, SIGSET_SIZE);
  return outcome;
}
