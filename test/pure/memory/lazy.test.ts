import { describe, expect, test } from 'bun:test';
import { Outstanding, type Piece, piecesOf } from '../../../src/memory/lazy/outstanding.ts';
import { partsBy } from '../../../src/memory/plan/ranges.ts';

const P = 4096;
const piece = (start: number, pages: number, from = start): Piece => ({
  start: start * P,
  length: pages * P,
  from: from * P,
});

/** A model: for each page of the address space, where it was at the dump. */
class Model {
  readonly waiting = new Map<number, number>();
  readonly asked = new Map<number, number>();

  remap(from: number, to: number, pages: number): void {
    for (const map of [this.waiting, this.asked]) {
      const moved = [...map].filter(([at]) => at >= from && at < from + pages);
      for (const [at] of moved) map.delete(at);
      for (const [at, was] of moved) map.set(at - from + to, was);
    }
  }

  drop(from: number, pages: number): void {
    for (const map of [this.waiting, this.asked]) for (let i = 0; i < pages; i++) map.delete(from + i);
  }

  get all(): [number, number][] {
    return [...this.waiting, ...this.asked].sort(([a], [b]) => a - b);
  }
}

const pagesOf = (pieces: readonly Piece[]): [number, number][] =>
  pieces.flatMap(({ start, length, from }) =>
    Array.from({ length: length / P }, (_, i): [number, number] => [start / P + i, from / P + i]),
  );

describe('pages that are outstanding', () => {
  test('a page is asked for once, and what follows it up to the end of the piece', () => {
    const left = new Outstanding([piece(10, 4), piece(20, 1)]);
    expect(left.ask(12 * P, 8 * P)?.pieces).toEqual([piece(12, 2)]);
    expect(left.ask(12 * P, P)).toBeUndefined();
    expect(left.isAsked(13 * P)).toBe(true);
    expect(left.next(11 * P)).toBe(11 * P);
    expect(left.next(12 * P)).toBe(20 * P);
    expect(left.next(21 * P)).toBe(10 * P);
    expect(left.pieces).toEqual([piece(10, 2), piece(12, 2), piece(20, 1)]);
  });
  test('what has moved meanwhile belongs where it is now, and what is gone nowhere', () => {
    const left = new Outstanding([piece(10, 8)]);
    const asked = left.ask(10 * P, 8 * P);
    left.remap(12 * P, 100 * P, 2 * P);
    left.drop(15 * P, P);
    if (!asked) throw new Error('nothing');
    expect(left.arrived(asked, 10 * P, 5 * P)).toEqual([piece(10, 2), piece(14, 1), piece(100, 2, 12)]);
    expect(left.pieces).toEqual([piece(16, 2)]);
  });
  test('a child needs also what is on its way', () => {
    const left = new Outstanding([piece(10, 4)]);
    left.ask(10 * P, 2 * P);
    const child = left.copy();
    expect(child.isAsked(10 * P)).toBe(false);
    expect(pagesOf(child.pieces)).toEqual(pagesOf([piece(10, 4)]));
  });
  test('whatever is done, each page is where the model has it', () => {
    let dice = 1;
    const roll = (sides: number): number => {
      dice = (dice * 48271) % 0x7fff_ffff;
      return dice % sides;
    };
    for (let round = 0; round < 300; round++) {
      const left = new Outstanding([piece(0, 30), piece(40, 20), piece(70, 1)]);
      const model = new Model();
      for (const [at, from] of pagesOf(left.pieces)) model.waiting.set(at, from);
      const asked: NonNullable<ReturnType<Outstanding['ask']>>[] = [];
      for (let step = 0; step < 40; step++) {
        const at = roll(80);
        switch (roll(5)) {
          case 0: {
            const one = left.ask(at * P, (1 + roll(6)) * P);
            expect(one !== undefined).toBe(model.waiting.has(at));
            for (const [page, from] of pagesOf(one?.pieces ?? [])) {
              expect(model.waiting.get(page)).toBe(from);
              model.waiting.delete(page);
              model.asked.set(page, from);
            }
            if (one) asked.push(one);
            break;
          }
          case 1: {
            const [one] = asked.splice(roll(asked.length || 1), 1);
            if (!one) break;
            const before = pagesOf(one.pieces);
            const come = pagesOf(left.arrived(one, roll(70) * P, (1 + roll(20)) * P));
            for (const [page, from] of before) model.asked.delete(page) && model.waiting.set(page, from);
            for (const [page, from] of come) {
              expect(model.waiting.get(page)).toBe(from);
              model.waiting.delete(page);
            }
            break;
          }
          case 2:
            left.drop(at * P, 3 * P);
            model.drop(at, 3);
            break;
          case 3:
            // To where nothing is.
            left.remap(at * P, (1000 + step * 10) * P, 5 * P);
            model.remap(at, 1000 + step * 10, 5);
            break;
          default:
            expect(left.isAsked(at * P)).toBe(model.asked.has(at));
        }
        expect(pagesOf(left.pieces)).toEqual(model.all);
      }
    }
  });
  test('no piece reaches across the end of a mapping', () => {
    expect(piecesOf([piece(10, 10)], [5 * P, 12 * P, 15 * P, 40 * P])).toEqual([
      piece(10, 2),
      piece(12, 3),
      piece(15, 5),
    ]);
  });
});

test('a range is cut where it enters and leaves a set', () => {
  const parts = (start: number, length: number): unknown[] =>
    [
      ...partsBy({ start, length }, [
        { start: 10, length: 5 },
        { start: 20, length: 5 },
      ]),
    ].map((part) => [part.start, part.length, part.inside]);
  expect(parts(0, 30)).toEqual([
    [0, 10, false],
    [10, 5, true],
    [15, 5, false],
    [20, 5, true],
    [25, 5, false],
  ]);
  expect(parts(11, 2)).toEqual([[11, 2, true]]);
  expect(parts(12, 8)).toEqual([
    [12, 3, true],
    [15, 5, false],
  ]);
  expect(parts(30, 5)).toEqual([[30, 5, false]]);
});
