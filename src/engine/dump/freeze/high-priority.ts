/** Runs Stasis at high priority while tasks are frozen, or while they run and have to be stopped. */
import { PRIO } from '../../../kernel/constants/tasks.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

const HIGHEST = -20;

/**
 * Gives our main thread the highest priority (the lowest nice value), if that is permitted, until the scope ends.
 * Processes it starts meanwhile inherit that.
 */
export class HighPriority implements Disposable {
  readonly #before: number | undefined;

  constructor() {
    // The kernel returns 20 - nice, which is never negative.
    const answer = trySyscall('getpriority', PRIO.PROCESS, 0);
    if (answer > 0 && trySyscall('setpriority', PRIO.PROCESS, 0, HIGHEST) === 0) this.#before = 20 - answer;
  }

  [Symbol.dispose](): void {
    if (this.#before !== undefined) trySyscall('setpriority', PRIO.PROCESS, 0, this.#before);
  }
}
