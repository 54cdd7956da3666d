/** What a client is told of a failure. */
import { expect, test } from 'bun:test';
import { ObstacleError, StasisError } from '../../../src/base/errors.ts';
import { errnoOf, errorText } from '../../../src/rpc/errors.ts';

const obstacle = (i: number, code: 'FILE_KVM' | 'OPTION_NOT_BUILT' = 'FILE_KVM'): StasisError =>
  new StasisError({ kind: 'unsupported', code, resource: `thing ${i}`, reason: 'it is in the way', remedy: `do ${i}` });

test('cause and remedy', () => {
  const error = new StasisError({ kind: 'usage', resource: 'a', reason: 'b', remedy: 'c' });
  expect(errorText(error)).toBe('Error: a: b\nHint: c');
});

test('of many obstacles the first, and how many more there are', () => {
  const error = new ObstacleError(
    'the tree cannot be saved',
    Array.from({ length: 100 }, (_, i) => obstacle(i)),
  );
  const text = errorText(error);
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(900);
  expect(text).toStartWith('Error: the tree cannot be saved\n  - thing 0: it is in the way\n    do 0\n');
  const told = text.match(/thing/g)?.length ?? 0;
  expect(told).toBeGreaterThan(10);
  expect(text).toEndWith(`and ${100 - told} more; the log has them all`);
});

test('a text that is too long is cut between two characters', () => {
  const text = errorText(new StasisError({ kind: 'io', reason: 'ü'.repeat(1000) }));
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(900);
  expect(text).toEndWith('ü…');
});

test('numbers are those of CRIU', () => {
  expect(errnoOf(new StasisError({ kind: 'usage', reason: '' }))).toBe(56);
  expect(errnoOf(new StasisError({ kind: 'gone', reason: '' }))).toBe(3);
  expect(errnoOf(new StasisError({ kind: 'conflict', code: 'PID_TAKEN', reason: '' }))).toBe(17);
  expect(errnoOf(new StasisError({ kind: 'io', reason: '' }))).toBeUndefined();
  expect(errnoOf(new ObstacleError('', [obstacle(1, 'OPTION_NOT_BUILT'), obstacle(2, 'OPTION_NOT_BUILT')]))).toBe(95);
  expect(errnoOf(new ObstacleError('', [obstacle(1), obstacle(2, 'OPTION_NOT_BUILT')]))).toBeUndefined();
});
