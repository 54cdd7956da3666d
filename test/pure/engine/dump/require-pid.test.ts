import { expect, test } from 'bun:test';
import { requirePid } from '../../../../src/engine/dump/dump.ts';

test('a dump needs a process, and says so', () => {
  expect(requirePid(17)).toBe(17);
  expect(() => requirePid(undefined)).toThrow('no process was named');
});
