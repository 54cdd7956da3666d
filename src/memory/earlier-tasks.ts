/** The tasks of a dump whose pages are stored already: with them others have memory, or pages, in common. */

import type { PageRange } from '../contract/contract.ts';
import { KCMP } from '../kernel/constants/files.ts';
import { trySyscall } from '../kernel/syscall.ts';
import { commonFrames } from './frames.ts';
import type { SharedPages } from './shared-pages.ts';

export class EarlierTasks {
  /** For each task, under whose PID its pages are stored. */
  readonly #stored = new Map<number, number>();

  /** Takes in a task that shares its memory with an earlier one; answers whose it is. */
  sharing(pid: number): number | undefined {
    const owners = new Set(this.#stored.values());
    const owner = [...owners].find((other) => trySyscall('kcmp', pid, other, KCMP.VM, 0, 0) === 0);
    if (owner !== undefined) this.#stored.set(pid, owner);
    return owner;
  }

  /**
   * Takes in a task with a memory of its own; answers which of its pages it has in common with its parent, if that was
   * taken in before. Pages that were shared by fork(2) and not written since are.
   */
  sharedPagesOf(pid: number, parent: number, pages: readonly PageRange[]): SharedPages | undefined {
    const of = this.#stored.get(parent);
    this.#stored.set(pid, pid);
    const ranges = of === undefined ? undefined : commonFrames(pid, of, pages);
    return of === undefined || !ranges ? undefined : { of, ranges };
  }
}
