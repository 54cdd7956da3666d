/**
 * The signals that ask a command to end. It gives its work up, says what has become of the tasks, and ends by the
 * signal, as its parent expects.
 */
import { InterruptedError } from '../base/errors.ts';
import { syscall } from '../kernel/syscall.ts';
import { endWatch, watchForInterruption } from '../tracee/interruption.ts';

/** Does work that these signals may interrupt. Afterwards they have no effect any more. */
export function interruptible<T>(work: () => T): T {
  watchForInterruption();
  return work();
}

/** Ends Stasis by the signal that has interrupted it; returns if `error` is no interruption. */
export function endBySignal(error: unknown): void {
  if (!(error instanceof InterruptedError)) return;
  endWatch();
  syscall('kill', process.pid, error.signal);
}
