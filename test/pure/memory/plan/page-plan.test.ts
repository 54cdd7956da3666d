import { describe, expect, test } from 'bun:test';
import { LOT_SIZE, lotsOf } from '../../../../src/memory/plan/lots.ts';
import { pagemapRuns, planPages, planSegment } from '../../../../src/memory/plan/page-plan.ts';

const PAGE = 4096;
const at = (start: number, pages: number): { start: number; length: number } => ({
  start: start * PAGE,
  length: pages * PAGE,
});

describe('the plan for the pages of a task', () => {
  const pages = {
    plain: [at(10, 2), at(30, 1)],
    hidden: [at(12, 1)],
    same: { of: 1, ranges: [at(20, 4)] },
    inParent: [at(13, 1), at(31, 2)],
  };

  test('is in the order of addresses, each run with its origin', () => {
    const plan = planPages(pages, true);
    expect(plan.map(({ start, origin }) => [start / PAGE, origin])).toEqual([
      [10, 'own'],
      [12, 'hidden'],
      [13, 'parent'],
      [20, 'same'],
      [30, 'own'],
      [31, 'parent'],
    ]);
  });

  test('reads from the task what its original does not have', () => {
    expect(planPages(pages, false).find(({ start }) => start === 20 * PAGE)?.origin).toBe('hidden');
  });

  test('tells a pagemap what is stored and what the parent has', () => {
    expect(pagemapRuns(planPages(pages, true)).map(({ pages, flags }) => [pages, flags])).toEqual([
      [2, 4],
      [1, 4],
      [1, 1],
      [4, 4],
      [1, 4],
      [2, 1],
    ]);
  });

  test('stores nothing of what the parent has, in lots of one origin', () => {
    const lots = lotsOf(planPages(pages, true));
    expect(lots.map(({ origin, length, offset }) => [origin, length / PAGE, offset / PAGE])).toEqual([
      ['own', 2, 0],
      ['hidden', 1, 2],
      ['same', 4, 3],
      ['own', 1, 7],
    ]);
  });
});

test('lots are never larger than the buffer, and leave nothing out', () => {
  const ranges = [at(0, 700), at(1000, 1), at(1002, 3)];
  const lots = lotsOf(planSegment(ranges));
  for (const { length } of lots) expect(length).toBeLessThanOrEqual(LOT_SIZE);
  expect(lots.reduce((sum, { length }) => sum + length, 0)).toBe(704 * PAGE);
  expect(lots.flatMap(({ pieces }) => pieces).reduce((sum, { length }) => sum + length, 0)).toBe(704 * PAGE);
});
