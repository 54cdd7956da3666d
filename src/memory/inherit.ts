/**
 * What a forked task can keep of the address space it was born with, so that pages neither it nor its origin has written
 * stay shared. Pure.
 */
import type { PageRange } from '../contract/contract.ts';
import { addRange, endOf, without } from './ranges.ts';

/** A mapping that stands in an address space. */
export interface Standing extends PageRange {
  /** Mappings of the same kind, of the same place of the same file, have the same key; an empty one is like no other. */
  readonly key: string;
  /** Its protection at the moment. */
  readonly prot: number;
}

/** A mapping that is to be there. */
export interface Wanted extends PageRange {
  readonly key: string;
  /** Whether mremap(2) can lengthen it. */
  readonly growable: boolean;
}

/** What becomes of an address space. */
export interface Inheritance {
  /** For each wanted mapping, by its index, what it keeps. Those without are to be made anew. */
  readonly kept: ReadonlyMap<number, Kept>;
  /** What has to go, in as few pieces as there can be. */
  readonly unmapped: readonly PageRange[];
}

/** The beginning of a wanted mapping that is there already. If it is not all of it, mremap(2) lengthens it in place. */
export interface Kept {
  readonly length: number;
  readonly prot: number;
}

/**
 * Compares what stands with what is wanted. Both lists ascend; `fences` are parts nobody may touch.
 *
 * A wanted mapping is kept only if it comes out as one mapping: the kernel never joins a new one to an inherited one (their
 * anon_vma differ), and programs that mremap(2) what they believe to be one would fail. So it must lie within one that
 * stands, or begin in one and be lengthened upwards.
 */
export function inherit(
  standing: readonly Standing[],
  wanted: readonly Wanted[],
  fences: readonly PageRange[],
): Inheritance {
  const kept = new Map<number, Kept>();
  const regions: PageRange[] = [];
  let next = 0;
  wanted.forEach((mapping, index) => {
    while (next < standing.length && endOf(standing[next]) <= mapping.start) next++;
    const there = standing[next];
    if (!there || there.start > mapping.start || there.key !== mapping.key || there.key === '') return;
    const length = Math.min(endOf(there), endOf(mapping)) - mapping.start;
    if (length < mapping.length && !mapping.growable) return;
    kept.set(index, { length, prot: there.prot });
    addRange(regions, mapping.start, length);
  });
  const untouched = [...regions, ...fences].sort((a, b) => a.start - b.start);
  return { kept, unmapped: joined(without(standing, untouched), untouched) };
}

/** Joins ranges that have nothing between them that must stay: munmap(2) does not mind holes. */
function joined(ranges: readonly PageRange[], untouched: readonly PageRange[]): PageRange[] {
  const found: PageRange[] = [];
  let next = 0;
  for (const range of ranges) {
    const last = found[found.length - 1];
    while (next < untouched.length && (untouched[next] as PageRange).start < endOf(last)) next++;
    const fence = untouched[next];
    if (last && (!fence || fence.start >= range.start)) {
      found[found.length - 1] = { start: last.start, length: endOf(range) - last.start };
    } else {
      found.push(range);
    }
  }
  return found;
}
