import { describe, expect, test } from 'bun:test';
import { secondsAndRest } from '../../../../src/kernel/time-namespace.ts';
import { entryOf, offsetLines, readingsOf } from '../../../../src/kinds/tree/clocks/reading.ts';

const SECOND = 1_000_000_000n;

describe('readings of clocks', () => {
  test('there and back', () => {
    const clocks = { monotonic: 5n * SECOND + 7n, boottime: 86_400n * SECOND + 999_999_999n };
    const entry = entryOf(clocks);
    expect(entry).toEqual({
      monotonic: { tv_sec: 5n, tv_nsec: 7n },
      boottime: { tv_sec: 86_400n, tv_nsec: 999_999_999n },
    });
    expect(readingsOf(entry as Parameters<typeof readingsOf>[0], 'timens-0.img')).toEqual(clocks);
  });

  test('what no clock shows is an error that names the field', () => {
    const good = { tv_sec: 1n, tv_nsec: 0n };
    const bad = [
      { tv_sec: 1n, tv_nsec: SECOND },
      { tv_sec: 1n << 62n, tv_nsec: 0n },
      { tv_sec: (1n << 64n) - 5n, tv_nsec: 0n },
    ];
    for (const boottime of bad) {
      expect(() => readingsOf({ monotonic: good, boottime }, 'timens-0.img')).toThrow(/timens-0\.img.*boottime/);
    }
  });

  test('offsets: nanoseconds are never negative', () => {
    expect(secondsAndRest(-1n)).toEqual([-1n, 999_999_999n]);
    expect(secondsAndRest(-SECOND)).toEqual([-1n, 0n]);
    expect(offsetLines({ monotonic: -3n * SECOND + 5n, boottime: 2n * SECOND })).toBe('1 -3 5\n7 2 0\n');
  });
});
