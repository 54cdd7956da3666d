/**
 * The tracking of a tree: which pages of its tasks have changed since the previous dump of a chain, and that the next
 * one can know.
 */

import type { HostPid, LocalFd } from '../../base/brands.ts';
import { hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug, logWarn } from '../../base/log.ts';
import type { MemoryChanges, MemoryOwner, PageRange } from '../../contract/contract.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { O } from '../../kernel/constants/files.ts';
import { UFFD_USER_MODE_ONLY } from '../../kernel/constants/memory.ts';
import { openPidfd, tryBorrow } from '../../kernel/pidfd.ts';
import { ERRNO, Fd, trySyscall } from '../../kernel/syscall.ts';
import { tryNoticeWrites, tryRegister, unregister } from '../../kernel/userfault.ts';
import { mapsRing } from '../../support/ring-notes.ts';
import type { Remote } from '../../tracee/remote.ts';
import { isTracked } from '../own-pages.ts';
import { common, without } from '../plan/ranges.ts';
import { anonymousRanges, openPagemap } from '../scan.ts';
import { rangesHeld } from '../sources/images.ts';
import { isAioRing } from '../vma.ts';
import { trackedRanges, unchanged } from './changes.ts';
import { findKeepers, type Keeper, keeps, startKeeper, takeOver } from './keeper.ts';
import { swappedOfFiles } from './markers.ts';
import { WriteProtectTracker } from './write-protect.ts';
import { takeWritten, writtenIn } from './written.ts';

/** A task whose writes are noticed. */
interface TrackedTask {
  /** Ticks since boot; with the PID it identifies the task. */
  readonly start: number;
  readonly saved: number;
  readonly uffd: Fd;
  ranges: readonly PageRange[];
}

/** What a chain of dumps asks for. */
export interface TrackingOptions {
  readonly root: HostPid;
  /** The images of the previous dump. */
  readonly parent: ImageSet | undefined;
  /** Whether the next dump is to know what has changed since this one. */
  readonly renews: boolean;
}

/** Whether this kernel can notice writes; the reason if not. */
export function whyNoTracking(): string | undefined {
  const opened = trySyscall('userfaultfd', O.CLOEXEC | UFFD_USER_MODE_ONLY);
  if (opened < 0) return 'the kernel has no userfaultfd';
  using fd = new Fd(opened);
  return tryNoticeWrites(fd.number) < 0 ? 'userfaultfd of this kernel cannot notice writes (since 6.7)' : undefined;
}

export class Tracking implements MemoryChanges, Disposable {
  readonly #options: TrackingOptions;
  readonly #keeper: Keeper | undefined;
  /** Whether it is known what has changed since the parent's images, by a keeper of the dump that made them. */
  readonly isContinued: boolean;
  /** The pages that the parent has, by the PID in the images. */
  readonly #held = new Map<number, readonly PageRange[]>();
  readonly #tasks = new Map<HostPid, TrackedTask>();
  #isClaimed = false;

  /**
   * To be made before the tree is frozen, since it reads the parent's images.
   * @throws ImageError if they are damaged or incomplete
   */
  constructor(options: TrackingOptions) {
    this.#options = options;
    const { root, parent } = options;
    this.#keeper = findKeepers().find(({ record }) => record.root === root);
    const run = parent?.inventory().dump_criu_run_id;
    this.isContinued = this.#keeper !== undefined && run !== undefined && this.#keeper.record.run === run;
    if (!this.isContinued || !parent) return;
    for (const { saved } of this.#keeper?.record.tasks ?? []) {
      const held = rangesHeld(parent, saved);
      if (held) this.#held.set(saved, held);
    }
  }

  mustEnter(task: MemoryOwner): boolean {
    if (!this.#options.renews) return false;
    this.#claim();
    const known = this.#tasks.get(task.pid);
    if (known && known.start === task.stat.starttime && isAlive(known, task)) return false;
    known?.uffd[Symbol.dispose]();
    this.#tasks.delete(task.pid);
    return true;
  }

  /**
   * The task makes a userfaultfd, since the address space it belongs to is that of its maker. It is taken while the
   * task is stopped at the entry of the call that closes it again.
   */
  enter(task: MemoryOwner, remote: Remote): void {
    const program = remote.program();
    const made = program.attempt('userfaultfd', O.CLOEXEC | O.NONBLOCK | UFFD_USER_MODE_ONLY);
    program.attempt('close', made);
    let taken: number = -ERRNO.EPERM;
    const paused = remote.runWithPause(program, () => {
      const number = program.result(made);
      using pidfd = openPidfd(task.pid);
      taken = number < 0 ? number : tryBorrow(pidfd, number);
    });
    const result = taken >= 0 ? tryNoticeWrites(taken as LocalFd) : taken;
    if (taken >= 0 && result < 0) trySyscall('close', taken);
    if (!paused || result < 0) {
      logWarn('tracking.ts', `task ${task.pid}: its writes cannot be noticed (${result}); all its memory is stored`);
      return;
    }
    const { starttime: start } = task.stat;
    const saved = Number(task.tree.pids.saved(task.pid));
    this.#tasks.set(task.pid, { start, saved, uffd: new Fd(taken), ranges: [] });
  }

  /** Whether the writes to a task have been noticed since an earlier dump. */
  isKept({ pid, stat }: MemoryOwner): boolean {
    return this.#keeper !== undefined && keeps(this.#keeper, pid, stat.starttime);
  }

  inParent(task: MemoryOwner, own: readonly PageRange[], unwritten?: readonly PageRange[]): PageRange[] {
    const { renews } = this.#options;
    const isKept = this.isKept(task);
    const known = this.#tasks.get(task.pid);
    if (renews ? !known : !isKept) return [];
    using pagemap = openPagemap(task.pid);
    if (!renews && unwritten) return this.#inherited(task, pagemap, (held) => common(unwritten, held));
    const anonymous = anonymousRanges(task.vmas);
    const tracker = new WriteProtectTracker({
      register: ({ start, length }) => known !== undefined && tryRegister(known.uffd.number, start, length) === 0,
      written: (range, anew) => (anew ? takeWritten(pagemap, range, anonymous) : writtenIn(pagemap, range, anonymous)),
    });
    const changes = renews ? tracker.take(task.vmas) : tracker.look(task.vmas);
    if (known) known.ranges = trackedRanges(task.vmas, isTracked);
    return isKept ? this.#inherited(task, pagemap, (held) => unchanged(own, held, changes)) : [];
  }

  /** What of the pages that the parent holds is as it was: `unchanged` tells which have not been written to. */
  #inherited(
    { pid, vmas, tree }: MemoryOwner,
    pagemap: Fd,
    unchanged: (held: readonly PageRange[]) => PageRange[],
  ): PageRange[] {
    // The kernel writes for those that use rings when it has their pages already, which nothing notices.
    if (vmas.some((vma) => isAioRing(vma) || mapsRing(vma))) return [];
    const held = this.isContinued ? this.#held.get(Number(tree.pids.saved(pid))) : undefined;
    // A page of a file mapping that is not there may be one that was given back, which the parent's is not.
    return held ? without(unchanged(held), swappedOfFiles(pagemap, vmas)) : [];
  }

  /** Takes what the keeper holds, which ends: from here on only we know, and nobody if the dump fails. */
  #claim(): void {
    if (this.#isClaimed) return;
    this.#isClaimed = true;
    for (const { task, fd } of this.#keeper ? takeOver(this.#keeper) : []) {
      const { pid, start, saved } = task;
      this.#tasks.set(hostPid(pid), { start, saved, uffd: fd, ranges: [] });
    }
  }

  /**
   * Has a keeper hold it all until the next dump, when the images of this one, of run `run`, are complete. If that
   * fails the next dump stores everything.
   */
  keep(run: string): void {
    const tasks = [...this.#tasks].map(([pid, { start, saved, uffd }]) => ({ pid, start, saved, fd: uffd.number }));
    if (tasks.length === 0) return;
    try {
      startKeeper(run, this.#options.root, tasks);
      for (const { uffd } of this.#tasks.values()) uffd[Symbol.dispose]();
      this.#tasks.clear();
      logDebug(`the writes of ${tasks.length} tasks are noticed from now on`);
    } catch (error) {
      if (!(error instanceof StasisError)) throw error;
      logWarn('tracking.ts', `the next dump will store all memory: ${error.message}`);
    }
  }

  /** Ends the tracking of tasks that no keeper has. The kernel would do it at the close, holding up a running task. */
  [Symbol.dispose](): void {
    for (const { uffd, ranges } of this.#tasks.values()) {
      for (const { start, length } of ranges) unregister(uffd.number, start, length);
      uffd[Symbol.dispose]();
    }
    this.#tasks.clear();
  }
}

/** Whether a userfaultfd is of the address space that the task has now: after execve(2) it has another one. */
function isAlive({ uffd }: TrackedTask, { vmas }: MemoryOwner): boolean {
  const first = vmas.find(isTracked);
  return first === undefined || tryRegister(uffd.number, first.start, first.end - first.start) !== -ERRNO.ESRCH;
}
