import { describe, expect, test } from 'bun:test';
import { differing } from '../../../../src/memory/plan/same-pieces.ts';

const piece = (start: number, length: number, file: string, offset: number) => ({ start, length, file, offset });

describe('pages that are stored elsewhere than before', () => {
  test('all, if there was nothing', () => {
    expect(differing([piece(0, 10, 'a', 0)], [])).toEqual([piece(0, 10, 'a', 0)]);
  });
  test('none, if nothing has changed, however it is cut', () => {
    const before = [piece(0, 4, 'a', 0), piece(4, 6, 'a', 4)];
    expect(differing([piece(0, 10, 'a', 0)], before)).toEqual([]);
    expect(differing(before, [piece(0, 10, 'a', 0)])).toEqual([]);
  });
  test('what a later file has, what was not there, and what is stored at another offset', () => {
    const before = [piece(0, 10, 'a', 0), piece(20, 10, 'a', 10), piece(40, 4, 'a', 20)];
    const now = [
      piece(0, 3, 'a', 0),
      piece(3, 2, 'b', 0),
      piece(5, 10, 'a', 5),
      piece(20, 10, 'a', 11),
      piece(40, 6, 'a', 20),
    ];
    expect(differing(now, before)).toEqual([
      piece(3, 2, 'b', 0),
      piece(10, 5, 'a', 10),
      piece(20, 10, 'a', 11),
      piece(44, 2, 'a', 24),
    ]);
  });
  test('at random, against a map of pages', () => {
    for (let round = 0; round < 300; round++) {
      const random = (): ReturnType<typeof piece>[] => {
        const pieces: ReturnType<typeof piece>[] = [];
        for (let at = Math.floor(Math.random() * 3); at < 40; ) {
          const length = 1 + Math.floor(Math.random() * 6);
          pieces.push(piece(at, length, 'ab'[Math.floor(Math.random() * 2)] ?? 'a', Math.random() < 0.7 ? at : at + 1));
          at += length + Math.floor(Math.random() * 3);
        }
        return pieces;
      };
      const pages = (pieces: readonly ReturnType<typeof piece>[]): Map<number, string> => {
        const found = new Map<number, string>();
        for (const { start, length, file, offset } of pieces)
          for (let i = 0; i < length; i++) found.set(start + i, `${file}${offset + i}`);
        return found;
      };
      const [now, before] = [random(), random()];
      const old = pages(before);
      const expected = [...pages(now)].filter(([page, content]) => old.get(page) !== content);
      expect([...pages(differing(now, before))]).toEqual(expected);
    }
  });
});
