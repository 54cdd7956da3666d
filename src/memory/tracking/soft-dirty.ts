/**
 * Notices writes by the soft-dirty bits of page tables, where the kernel has them (CONFIG_MEM_SOFT_DIRTY). They belong
 * to the task, and whoever else clears them (`/proc/PID/clear_refs`) is not noticed, as with CRIU.
 */
import type { PageRange } from '../../contract/contract.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { isTracked } from '../own-pages.ts';
import { type Changes, rangesWhere, trackedRanges, type WriteTracker } from './changes.ts';

/** What the kernel does for one task; a test has another one. */
export interface SoftDirtyBits {
  /** The pages of a range with the bit. Undefined if the kernel cannot say. */
  written(range: PageRange): PageRange[] | undefined;
  /** Clears the bits of all pages. */
  clear(): void;
}

export class SoftDirtyTracker implements WriteTracker {
  readonly #kernel: SoftDirtyBits;
  /** Whether the bits were cleared at the previous dump. */
  #begun: boolean;

  constructor(kernel: SoftDirtyBits, begun: boolean) {
    this.#kernel = kernel;
    this.#begun = begun;
  }

  /** A mapping that is new since the bits were cleared has the flag `sd`, and nothing is known of its pages. */
  look(vmas: readonly ProcVma[]): Changes {
    const ranges = trackedRanges(vmas, isTracked);
    const found = this.#begun ? ranges.map((range) => this.#kernel.written(range)) : [undefined];
    const untold = found.includes(undefined);
    const unknown = rangesWhere(vmas, (vma) => untold || !isTracked(vma) || (vma.vmFlags?.has('sd') ?? true));
    return { written: found.flatMap((pages) => pages ?? []), unknown };
  }

  take(vmas: readonly ProcVma[]): Changes {
    const changes = this.look(vmas);
    this.#kernel.clear();
    this.#begun = true;
    return changes;
  }
}
