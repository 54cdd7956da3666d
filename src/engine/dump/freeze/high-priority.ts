/** Being served first, for as long as others are kept from running or have to be caught while they run. */
import { trySyscall } from '../../../kernel/syscall.ts';

const PRIO_PROCESS = 0;
const HIGHEST = -20;

/**
 * Our main thread at the highest nice value, if we may, until the scope ends. What it starts meanwhile inherits that.
 */
export class HighPriority implements Disposable {
  readonly #before: number | undefined;

  constructor() {
    // The kernel answers 20 - nice, so that it is no errno.
    const answer = trySyscall('getpriority', PRIO_PROCESS, 0);
    if (answer > 0 && trySyscall('setpriority', PRIO_PROCESS, 0, HIGHEST) === 0) this.#before = 20 - answer;
  }

  [Symbol.dispose](): void {
    if (this.#before !== undefined) trySyscall('setpriority', PRIO_PROCESS, 0, this.#before);
  }
}
