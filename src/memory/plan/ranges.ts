/**
 * Sets of pages as lists of ranges, ascending and without overlap. Every function goes through its lists once. Pure.
 */
import { firstIndex } from '../../base/search.ts';
import type { PageRange } from '../../contract/contract.ts';

/** The first address after a range; 0 for undefined. */
export function endOf(range: PageRange | undefined): number {
  return range ? range.start + range.length : 0;
}

/** Appends a range, or lengthens the last one. */
export function addRange(ranges: PageRange[], start: number, length: number): void {
  const last = ranges[ranges.length - 1];
  if (last && last.start + last.length === start) {
    ranges[ranges.length - 1] = { start: last.start, length: last.length + length };
  } else {
    ranges.push({ start, length });
  }
}

/** The index of the first range that ends after an address; the ranges must be ascending. */
export function firstBehind(ranges: readonly PageRange[], address: number): number {
  return firstIndex(ranges.length, (index) => endOf(ranges[index]) <= address);
}

/** Whether one of the ranges overlaps `[start, end)`. */
export function anyBetween(ranges: readonly PageRange[], start: number, end: number): boolean {
  const first = ranges[firstBehind(ranges, start)];
  return first !== undefined && first.start < end;
}

/** The intersection of two sets. */
export function common(a: readonly PageRange[], b: readonly PageRange[]): PageRange[] {
  const found: PageRange[] = [];
  for (let i = 0, k = 0; i < a.length && k < b.length; ) {
    const one = a[i] as PageRange; // i < length
    const other = b[k] as PageRange; // k < length
    const start = Math.max(one.start, other.start);
    const end = Math.min(endOf(one), endOf(other));
    if (start < end) addRange(found, start, end - start);
    if (endOf(one) < endOf(other)) i++;
    else k++;
  }
  return found;
}

/** The difference of two sets: the parts of `all` outside of `holes`. */
export function without(all: readonly PageRange[], holes: readonly PageRange[]): PageRange[] {
  const found: PageRange[] = [];
  let next = 0;
  for (const range of all) {
    const end = endOf(range);
    let at = range.start;
    while (next < holes.length && endOf(holes[next]) <= at) next++;
    for (let i = next; at < end; i++) {
      const hole = holes[i];
      const stop = hole ? Math.min(hole.start, end) : end;
      if (stop > at) addRange(found, at, stop - at);
      if (!hole || hole.start >= end) break;
      at = endOf(hole);
    }
  }
  return found;
}

/** Cuts a range where it enters and leaves a set; `inside` tells which of the parts are in it. */
export function* partsBy(
  { start, length }: PageRange,
  set: readonly PageRange[],
): Generator<PageRange & { readonly inside: boolean }> {
  const end = start + length;
  let at = start;
  for (let i = firstBehind(set, start); at < end; i++) {
    const next = set[i];
    const enters = next ? Math.min(next.start, end) : end;
    if (enters > at) yield { start: at, length: enters - at, inside: false };
    const from = Math.max(at, enters);
    at = Math.min(endOf(next), end);
    if (!next || enters === end) return;
    yield { start: from, length: at - from, inside: true };
  }
}

/** The total length in bytes. */
export function totalOf(ranges: readonly PageRange[]): number {
  return ranges.reduce((sum, range) => sum + range.length, 0);
}

/** The first `length` bytes of all ranges together. */
export function takeFrom(ranges: readonly PageRange[], length: number): PageRange[] {
  const taken: PageRange[] = [];
  let left = length;
  for (const range of ranges) {
    if (left <= 0) break;
    taken.push({ start: range.start, length: Math.min(range.length, left) });
    left -= range.length;
  }
  return taken;
}

/** All but the first `length` bytes of all ranges together. */
export function dropFrom(ranges: readonly PageRange[], length: number): PageRange[] {
  let dropped = 0;
  let left = length;
  for (const range of ranges) {
    if (range.length > left) break;
    left -= range.length;
    dropped++;
  }
  const [first, ...others] = ranges.slice(dropped);
  if (!first) return [];
  return [{ start: first.start + left, length: first.length - left }, ...others];
}
