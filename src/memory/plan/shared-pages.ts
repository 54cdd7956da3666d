/**
 * The pages that tasks shared with their parents (the same page frames), as a dump records them in
 * `stasis-task-PID.json`. A restore then need not compare contents. Pure.
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { Json, PageRange, SamePages } from '../../contract/contract.ts';
import { addRange, common, endOf } from './ranges.ts';

/** The pages a task shared with another. */
export type SharedPages = SamePages;

/** Encodes the ranges for the file as counts of pages from address 0 on: not shared, shared, not shared, … */
export function encodeSharedPages({ of, ranges }: SharedPages): Json {
  const pages: number[] = [];
  let at = 0;
  for (const range of ranges) {
    pages.push((range.start - at) / PAGE_SIZE, range.length / PAGE_SIZE);
    at = endOf(range);
  }
  return { of, pages };
}

/** Decodes the form of {@link encodeSharedPages}; undefined for anything else. */
export function decodeSharedPages(value: unknown): SharedPages | undefined {
  if (value === null || typeof value !== 'object') return undefined;
  const { of, pages } = value as { of?: unknown; pages?: unknown };
  if (typeof of !== 'number' || !Array.isArray(pages)) return undefined;
  const ranges: PageRange[] = [];
  let at = 0;
  for (let i = 0; i + 1 < pages.length; i += 2) {
    const [gap, count]: unknown[] = [pages[i], pages[i + 1]];
    if (typeof gap !== 'number' || typeof count !== 'number' || !(gap >= 0) || !(count > 0)) return undefined;
    addRange(ranges, at + gap * PAGE_SIZE, count * PAGE_SIZE);
    at += (gap + count) * PAGE_SIZE;
  }
  return { of, ranges };
}

/**
 * The pages two tasks certainly share; undefined if that is unknown. `of` returns what is recorded of a task. From both
 * tasks the records are followed up to their common ancestor.
 */
export function alike(
  one: number,
  other: number,
  of: (pid: number) => SharedPages | undefined,
): readonly PageRange[] | undefined {
  const theirs = new Map(ancestry(other, of).map(({ pid, ranges }) => [pid, ranges]));
  for (const { pid, ranges } of ancestry(one, of)) {
    if (!theirs.has(pid)) continue;
    const others = theirs.get(pid);
    return ranges && others ? common(ranges, others) : (ranges ?? others);
  }
  return undefined;
}

/** The task itself and its ancestors, with the pages the task shares with each; undefined means all pages. */
function ancestry(
  pid: number,
  of: (pid: number) => SharedPages | undefined,
): { pid: number; ranges: readonly PageRange[] | undefined }[] {
  const way: { pid: number; ranges: readonly PageRange[] | undefined }[] = [{ pid, ranges: undefined }];
  const seen = new Set([pid]);
  for (let step = of(pid); step && !seen.has(step.of); step = of(step.of)) {
    const before = way[way.length - 1]?.ranges;
    way.push({ pid: step.of, ranges: before ? common(before, step.ranges) : step.ranges });
    seen.add(step.of);
  }
  return way;
}
