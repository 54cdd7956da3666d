/** Threads that are still in the code of a Stasis that was killed. They are led out of it: see rescue.ts. */
import { StasisError } from '../base/errors.ts';
import { logInfo } from '../base/log.ts';
import { nap } from './ptrace.ts';

/**
 * A thread was, or is, in code of a Stasis that was killed, so the state that was read is not its own. The caller has
 * to retry.
 */
export class StrandedError extends StasisError {}

/** How often {@link retryWhileStranded} tries, and the nanoseconds between two tries; a second in total. */
const TRIES = 40;
const PAUSE = 25_000_000;

/**
 * Does work that begins with stopping tasks, and repeats it while threads of these were stranded. @throws what `work`
 * throws
 */
export function retryWhileStranded<T>(work: () => T): T {
  for (let tries = 1; ; tries++) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof StrandedError) || tries === TRIES) throw error;
      logInfo(error.message);
      nap(PAUSE);
    }
  }
}
