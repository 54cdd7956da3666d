/** Which pages of a task have changed since the previous dump. Pure. */
import type { PageRange } from '../../contract/contract.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { addRange, common, endOf, firstBehind, without } from '../plan/ranges.ts';

/** What is known of changes since the previous dump; lists are ascending. */
export interface Changes {
  /** Pages that have been written to. */
  readonly written: readonly PageRange[];
  /** Mappings of which nothing is known: all of their pages may have changed. */
  readonly unknown: readonly PageRange[];
}

/** Notices writes to the memory of one task, from one dump to the next. */
export interface WriteTracker {
  /** What has been written to since the tracking began, in a stopped task with these mappings. */
  look(vmas: readonly ProcVma[]): Changes;
  /** The same, and begins anew. */
  take(vmas: readonly ProcVma[]): Changes;
}

/** The pages of `own`, all those a dump stores, that `parent`, all that the previous one has, holds as they are. */
export function unchanged(
  own: readonly PageRange[],
  parent: readonly PageRange[],
  { written, unknown }: Changes,
): PageRange[] {
  return without(without(common(own, parent), written), unknown);
}

/** Mappings that are tracked, as few ranges as possible: a mapping that is not ends a range, a hole does not. */
export function trackedRanges(vmas: readonly ProcVma[], isTracked: (vma: ProcVma) => boolean): PageRange[] {
  const ranges: PageRange[] = [];
  let joins = false;
  for (const vma of vmas) {
    const tracked = isTracked(vma);
    const last = ranges.at(-1);
    if (tracked && joins && last) ranges[ranges.length - 1] = { start: last.start, length: vma.end - last.start };
    else if (tracked) ranges.push({ start: vma.start, length: vma.end - vma.start });
    joins = tracked;
  }
  return ranges;
}

/** The mappings that `isWanted`, or all, as ranges. */
export function rangesWhere(vmas: readonly ProcVma[], isWanted: (vma: ProcVma) => boolean = () => true): PageRange[] {
  const found: PageRange[] = [];
  for (const vma of vmas) if (isWanted(vma)) addRange(found, vma.start, vma.end - vma.start);
  return found;
}

/** Whether a mapping lies in one of the ranges, which are ascending. */
export function liesIn(vma: ProcVma, ranges: readonly PageRange[]): boolean {
  const range = ranges[firstBehind(ranges, vma.start)];
  return range !== undefined && range.start <= vma.start && vma.end <= endOf(range);
}
