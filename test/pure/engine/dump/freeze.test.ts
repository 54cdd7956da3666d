/** Telling many sleepers' timers apart: the numbers they are asked by. */
import { describe, expect, test } from 'bun:test';
import { codesFor } from '../../../../src/engine/dump/freeze/identify-by-bits.ts';
import { ownTimer } from '../../../../src/kinds/task/restart/timers.ts';

/** What is heard when every thing answers to its name, but for what `deaf` leaves out. */
function spell(count: number, deaf: (index: number, digit: number) => boolean = () => false): Map<string, number> {
  const codes = codesFor(count);
  const spelt = new Map<string, number>();
  for (let digit = 0; digit < codes.digits; digit++) {
    for (let index = 0; index < count; index++) {
      if (!codes.has(index, digit) || deaf(index, digit)) continue;
      spelt.set(`voice ${index}`, (spelt.get(`voice ${index}`) ?? 0) | (1 << digit));
    }
  }
  return spelt;
}

describe('codes', () => {
  test.each([1, 2, 3, 4, 5, 100, 600, 1024])('%d things are told apart', (count) => {
    const found = codesFor(count).read(spell(count));
    expect(found.length).toBe(count);
    expect(found.every(([voice, index]) => voice === `voice ${index}`)).toBe(true);
  });

  test('one thing takes one question, a thousand eleven', () => {
    expect([1, 2, 3, 1000].map((count) => codesFor(count).digits)).toEqual([1, 3, 3, 11]);
  });

  test('a voice that is missed once is nobody, never somebody else', () => {
    for (let missed = 0; missed < 100; missed++) {
      for (let digit = 0; digit < codesFor(100).digits; digit++) {
        const found = codesFor(100).read(spell(100, (index, at) => index === missed && at === digit));
        expect(found.every(([voice, index]) => voice === `voice ${index}`)).toBe(true);
      }
    }
  });

  test('two voices that say the same are nobody', () => {
    const spelt = spell(3).set('stranger', spell(3).get('voice 1') ?? 0);
    expect(codesFor(3).read(spelt)).toEqual([
      ['voice 0', 0],
      ['voice 2', 2],
    ]);
  });
});

test('the own timer among a thousand', () => {
  const gone = Array.from({ length: 1000 }, (_, i) => BigInt(i) * 10_000_000n);
  expect(ownTimer(gone, 5_001_000_000n)).toBe(5_000_000_000n);
  expect(ownTimer(gone, 5_005_000_000n)).toBeUndefined();
  expect(ownTimer(gone, 9_990_000_000n)).toBe(9_990_000_000n);
  expect(ownTimer(gone, -1n)).toBe(0n);
  expect(ownTimer(gone, undefined)).toBeUndefined();
});
