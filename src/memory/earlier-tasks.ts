/** The tasks of a dump whose pages are stored already. Later tasks may share memory, or single pages, with them. */

import type { HostPid } from '../base/brands.ts';
import type { PageRange } from '../contract/contract.ts';
import { KCMP } from '../kernel/constants/files.ts';
import { trySyscall } from '../kernel/syscall.ts';
import { commonFrames } from './frames.ts';
import type { SharedPages } from './plan/shared-pages.ts';

export class EarlierTasks {
  /** For each task, the PID under which its pages are stored. */
  readonly #stored = new Map<HostPid, HostPid>();

  /** Adds a task. If it shares its memory with an earlier one, returns the PID under which that memory is stored. */
  sharing(pid: HostPid): HostPid | undefined {
    const owners = new Set(this.#stored.values());
    const owner = [...owners].find((other) => trySyscall('kcmp', pid, other, KCMP.VM, 0, 0) === 0);
    if (owner !== undefined) this.#stored.set(pid, owner);
    return owner;
  }

  /** Whether nothing of a task with this parent can be a page that is stored already. */
  isFirst(parent: HostPid): boolean {
    return !this.#stored.has(parent);
  }

  /** Adds a task of which {@link isFirst} is true, with an address space of its own. */
  add(pid: HostPid): void {
    this.#stored.set(pid, pid);
  }

  /**
   * Adds a task with an address space of its own. If its parent was added before, returns the pages it shares with the
   * parent: those that fork(2) shared and neither has written to since.
   */
  sharedPagesOf(pid: HostPid, parent: HostPid, pages: readonly PageRange[]): SharedPages | undefined {
    const of = this.#stored.get(parent);
    this.#stored.set(pid, pid);
    const ranges = of === undefined ? undefined : commonFrames(pid, of, pages);
    return of === undefined || !ranges ? undefined : { of, ranges };
  }
}
