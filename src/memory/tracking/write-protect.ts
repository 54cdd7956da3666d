/** Notices writes by write protection: userfaultfd(2) and PAGEMAP_SCAN (kernel/userfault.ts). */
import type { PageRange } from '../../contract/contract.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { isTracked } from '../own-pages.ts';
import { type Changes, liesIn, rangesWhere, trackedRanges, type WriteTracker } from './changes.ts';

/** What the kernel does for one task; a test has another one. */
export interface WriteProtection {
  /** Puts a range under watch, in which it may be already; false if that is not possible for all of it. */
  register(range: PageRange): boolean;
  /**
   * The pages of a watched range that were written to; `anew` protects them again. Undefined if not all of the range is
   * watched.
   */
  written(range: PageRange, anew: boolean): PageRange[] | undefined;
}

export class WriteProtectTracker implements WriteTracker {
  readonly #kernel: WriteProtection;

  constructor(kernel: WriteProtection) {
    this.#kernel = kernel;
  }

  look(vmas: readonly ProcVma[]): Changes {
    return this.#gather(vmas, isWatched, (range) => this.#kernel.written(range, false));
  }

  take(vmas: readonly ProcVma[]): Changes {
    return this.#gather(vmas, isTracked, (range) =>
      this.#kernel.register(range) ? this.#kernel.written(range, true) : undefined,
    );
  }

  /**
   * A mapping that was not watched before is unknown, although all of its pages are reported as written to: kernels
   * before 6.13 leave the marks of moved pages standing (`move_ptes()` in mm/mremap.c). Such are mappings that are new,
   * grown, moved, or inherited by fork(2).
   */
  #gather(
    vmas: readonly ProcVma[],
    isWanted: (vma: ProcVma) => boolean,
    written: (range: PageRange) => PageRange[] | undefined,
  ): Changes {
    const found: PageRange[] = [];
    const told: PageRange[] = [];
    const ask = (range: PageRange): boolean => {
      const pages = written(range);
      if (pages) told.push(range);
      for (const page of pages ?? []) found.push(page);
      return pages !== undefined;
    };
    for (const range of trackedRanges(vmas, isWanted)) {
      if (ask(range)) continue;
      // One mapping in it cannot be watched: which one it is, only the kernel knows.
      const inside = vmas.filter((vma) => isWanted(vma) && liesIn(vma, [range]));
      if (inside.length > 1) for (const { start, end } of inside) ask({ start, length: end - start });
    }
    return { written: found, unknown: rangesWhere(vmas, (vma) => !isWatched(vma) || !liesIn(vma, told)) };
  }
}

/** Whether a mapping is watched by a userfaultfd that notices writes. */
function isWatched(vma: ProcVma): boolean {
  return isTracked(vma) && (vma.vmFlags?.has('uw') ?? false);
}
