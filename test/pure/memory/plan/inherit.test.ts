import { describe, expect, test } from 'bun:test';
import type { PageRange } from '../../../../src/contract/contract.ts';
import { inherit, type Standing, type Wanted } from '../../../../src/memory/plan/inherit.ts';
import { addRange, anyBetween, common, without } from '../../../../src/memory/plan/ranges.ts';
import {
  alike,
  decodeSharedPages,
  encodeSharedPages,
  type SharedPages,
} from '../../../../src/memory/plan/shared-pages.ts';
import { dice } from '../../dice.ts';

const PAGE = 4096;
const range = (from: number, to: number): PageRange => ({ start: from * PAGE, length: (to - from) * PAGE });
const ranges = (...pairs: [number, number][]): PageRange[] => pairs.map(([from, to]) => range(from, to));

/** The set of page numbers in ranges: what all of it means. */
function pagesOf(list: readonly PageRange[]): Set<number> {
  const pages = new Set<number>();
  for (const { start, length } of list) for (let at = start; at < start + length; at += PAGE) pages.add(at / PAGE);
  return pages;
}

function randomRanges(roll: (sides: number) => number, pages = 40): PageRange[] {
  const found: PageRange[] = [];
  for (let at = roll(5); at < pages; at += 1 + roll(5)) {
    const count = 1 + roll(6);
    addRange(found, at * PAGE, count * PAGE);
    at += count;
  }
  return found;
}

describe('sets of pages', () => {
  test('common, without and anyBetween are what they are of sets', () => {
    const roll = dice(7);
    for (let i = 0; i < 2000; i++) {
      const [a, b] = [randomRanges(roll), randomRanges(roll)];
      const [inA, inB] = [pagesOf(a), pagesOf(b)];
      expect(pagesOf(common(a, b))).toEqual(new Set([...inA].filter((page) => inB.has(page))));
      expect(pagesOf(without(a, b))).toEqual(new Set([...inA].filter((page) => !inB.has(page))));
      const [from, to] = [roll(40), 1 + roll(20)];
      const some = Array.from({ length: to }, (_, k) => from + k).some((page) => inA.has(page));
      expect(anyBetween(a, from * PAGE, (from + to) * PAGE)).toBe(some);
    }
  });
});

describe('inherited mappings', () => {
  const standing = (from: number, to: number, key: string, prot = 3): Standing => ({ ...range(from, to), key, prot });
  const wanted = (from: number, to: number, key: string, growable = true): Wanted => ({
    ...range(from, to),
    key,
    growable,
  });
  const pagesKept = (from: number, to: number): number => (to - from) * PAGE;

  test('what is the same stays, all else goes in as few pieces as can be', () => {
    const plan = inherit(
      [standing(1, 4, 'a'), standing(5, 6, 'b'), standing(8, 9, 'a'), standing(20, 30, 'a', 1)],
      [wanted(1, 4, 'a'), wanted(5, 6, 'c'), wanted(20, 30, 'a')],
      [],
    );
    expect([...plan.kept]).toEqual([
      [0, { length: pagesKept(1, 4), prot: 3 }],
      [2, { length: pagesKept(20, 30), prot: 1 }],
    ]);
    expect(plan.unmapped).toEqual(ranges([5, 9]));
  });

  test('a fence is not unmapped', () => {
    const plan = inherit([standing(1, 4, ''), standing(8, 9, ''), standing(10, 11, '')], [], ranges([5, 6], [9, 10]));
    expect(plan.unmapped).toEqual(ranges([1, 4], [8, 9], [10, 11]));
  });

  test('a mapping that shrank, or was split by mprotect(2), keeps its parts', () => {
    const plan = inherit([standing(0, 10, 'a')], [wanted(1, 3, 'a'), wanted(3, 4, 'a'), wanted(6, 10, 'a')], []);
    expect(plan.kept.size).toBe(3);
    expect(plan.unmapped).toEqual(ranges([0, 1], [4, 6]));
  });

  test('one that grew upwards keeps its beginning; what was in its way goes', () => {
    const plan = inherit([standing(0, 4, 'a'), standing(4, 6, 'a'), standing(6, 8, 'b')], [wanted(2, 7, 'a')], []);
    expect([...plan.kept]).toEqual([[0, { length: pagesKept(2, 4), prot: 3 }]]);
    expect(plan.unmapped).toEqual(ranges([0, 2], [4, 8]));
  });

  test('one of huge pages, which nothing lengthens, is kept whole or not at all', () => {
    const plan = inherit([standing(0, 4, 'a')], [wanted(0, 2, 'a', false), wanted(2, 6, 'a', false)], []);
    expect([...plan.kept.keys()]).toEqual([0]);
    expect(plan.unmapped).toEqual(ranges([2, 4]));
  });

  test('one that grew downwards is made anew: two mappings would be left of it', () => {
    const plan = inherit([standing(4, 8, 'a')], [wanted(2, 8, 'a')], []);
    expect(plan.kept.size).toBe(0);
    expect(plan.unmapped).toEqual(ranges([4, 8]));
  });

  test('whatever stands and is wanted: nothing wanted lies on what stays of something else', () => {
    const roll = dice(11);
    const keyed = (list: PageRange[]): (Standing & Wanted)[] =>
      list.map((each) => ({ ...each, key: 'ab'[roll(2)] ?? '', prot: 1, growable: roll(4) > 0 }));
    for (let i = 0; i < 2000; i++) {
      const there = keyed(randomRanges(roll));
      const wish = keyed(randomRanges(roll));
      const fence = roll(2) ? ranges([50 + roll(3), 60]) : [];
      const plan = inherit([...there, { ...range(45, 70), key: '', prot: 0 }], wish, fence);
      const gone = pagesOf(plan.unmapped);
      const left = new Set([...pagesOf(there), ...pagesOf(ranges([45, 70]))].filter((page) => !gone.has(page)));
      const kept = new Set<number>();
      wish.forEach(({ start, key }, index) => {
        const part = plan.kept.get(index);
        if (!part) return;
        const holder = there.find((each) => each.start <= start && start + part.length <= each.start + each.length);
        expect(holder?.key).toBe(key);
        for (const page of pagesOf([{ start, length: part.length }])) kept.add(page);
      });
      expect(left).toEqual(new Set([...kept, ...pagesOf(fence)]));
    }
  });
});

describe('what a dump tells of common pages', () => {
  const like = (of: number, ...pairs: [number, number][]): SharedPages => ({ of, ranges: ranges(...pairs) });

  test('is read as it was written', () => {
    const told = like(7, [0, 1], [5, 9], [0x7fff_0000, 0x7fff_0003]);
    expect(encodeSharedPages(told)).toEqual({ of: 7, pages: [0, 1, 4, 4, 0x7fff_0000 - 9, 3] });
    expect(decodeSharedPages(JSON.parse(JSON.stringify(encodeSharedPages(told))))).toEqual(told);
  });

  test.each([[undefined], [null], [3], [{}], [{ of: 1 }], [{ of: 1, pages: [1, 0] }], [{ of: 1, pages: [-1, 2] }]])(
    'what is no such thing is nothing: %p',
    (value) => expect(decodeSharedPages(value)).toBeUndefined(),
  );

  test('leads over common ancestors', () => {
    const told = new Map([
      [2, like(1, [0, 10])],
      [3, like(2, [5, 20])],
      [4, like(1, [8, 12])],
    ]);
    const of = (pid: number): SharedPages | undefined => told.get(pid);
    expect(alike(2, 1, of)).toEqual(ranges([0, 10]));
    expect(alike(1, 2, of)).toEqual(ranges([0, 10]));
    expect(alike(3, 1, of)).toEqual(ranges([5, 10]));
    expect(alike(3, 4, of)).toEqual(ranges([8, 10]));
    expect(alike(3, 9, of)).toBeUndefined();
  });

  test('a circle leads nowhere', () => {
    const told = new Map([
      [2, like(3, [0, 1])],
      [3, like(2, [0, 1])],
    ]);
    expect(alike(2, 9, (pid) => told.get(pid))).toBeUndefined();
  });
});
