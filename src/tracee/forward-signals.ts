/** Forwards signals that Stasis gets to another process. */

import { thisArch } from '../arch/index.ts';
import { SA, SIG } from '../kernel/constants/signals.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { endWatch, notedSignal, watchedSignals } from './interruption.ts';
import { actionOf, SignalHandler } from './signal-handler.ts';

/** Signals that a shell sends to a job, in addition to the watched ones: see interruption.ts. */
const OTHERS = [SIG.QUIT, SIG.USR1, SIG.USR2, SIG.WINCH, SIG.TSTP, SIG.CONT] as const;

/**
 * Passes signals on until its scope ends; then they have their default effect on us. Not those that we were started to
 * ignore, or that the runtime needs itself. What the terminal sends to a process group that both are in has reached the
 * other process already. After SIGTSTP we stop as well, so that a shell sees its job stop.
 */
export class SignalForwarding implements Disposable {
  readonly #handler: SignalHandler;
  readonly #pidfd: Fd | undefined;

  /** `pid` must be a child that has not been waited for. */
  constructor(pid: number) {
    const watched = watchedSignals();
    const pidfd = trySyscall('pidfd_open', pid, 0);
    if (pidfd >= 0) this.#pidfd = new Fd(pidfd);
    const sameGroup = trySyscall('getpgid', pid) === syscall('getpgid', 0);
    this.#handler = new SignalHandler(thisArch().forwardCode({ pidfd, sameGroup }));
    for (const signal of watched) this.#handler.handle(signal, SA.RESTART);
    for (const signal of OTHERS) if (actionOf(signal) === 'default') this.#handler.handle(signal, SA.RESTART);
    // The signal came when the tasks were about to run, or ran already.
    const late = notedSignal();
    if (late !== undefined) trySyscall('pidfd_send_signal', pidfd, late, 0, 0);
  }

  [Symbol.dispose](): void {
    this.#handler[Symbol.dispose]();
    endWatch();
    this.#pidfd?.[Symbol.dispose]();
  }
}
