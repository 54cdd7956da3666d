/**
 * What a forked task can keep of the address space it inherited, so that pages that neither it nor its origin has
 * written stay shared. Pure.
 */
import type { PageRange } from '../../contract/contract.ts';
import { addRange, endOf, without } from './ranges.ts';

/** A mapping that exists in an address space. */
export interface Standing extends PageRange {
  /**
   * Mappings of the same kind that map the same part of the same file have the same key. A mapping with an empty key
   * matches no other.
   */
  readonly key: string;
  /** Its current protection (PROT_*). */
  readonly prot: number;
}

/** A mapping that the task needs. */
export interface Wanted extends PageRange {
  readonly key: string;
  /** Whether mremap(2) can lengthen it. */
  readonly growable: boolean;
}

/** What is kept of an inherited address space and what is unmapped. */
export interface Inheritance {
  /** For each wanted mapping, by its index, the part of it that is kept. Mappings without an entry are made anew. */
  readonly kept: ReadonlyMap<number, Kept>;
  /** The ranges to unmap, joined to as few as possible. */
  readonly unmapped: readonly PageRange[];
}

/**
 * The first part of a wanted mapping, which exists already. If that is not all of it, mremap(2) lengthens it in place.
 */
export interface Kept {
  readonly length: number;
  readonly prot: number;
}

/**
 * Compares the existing mappings with the wanted ones. Both lists are ascending. `fences` are ranges that must not be
 * changed.
 *
 * A wanted mapping is kept only if the result is a single VMA: the kernel never merges a new mapping with an inherited
 * one, because their anon_vma differ, and a program that calls mremap(2) on what it believes to be one mapping would
 * fail. So it must lie within one existing mapping, or begin in one and be lengthened upwards.
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

/** Joins ranges if nothing between them has to stay; munmap(2) accepts ranges with holes. */
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
