import { describe, expect, test } from 'bun:test';
import { fileKinds, taskKinds } from '../../../src/kinds/registry.ts';

describe('the registry', () => {
  const names = taskKinds.map(({ name }) => name);

  test('no two kinds have one name, and no two file kinds one type', () => {
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(fileKinds.map(({ name }) => name)).size).toBe(fileKinds.length);
    expect(new Set(fileKinds.map(({ type }) => type)).size).toBe(fileKinds.length);
  });

  test.each(taskKinds.flatMap(({ name, after = [] }) => after.map((other) => [name, other] as const)))(
    '%s comes after %s',
    (name, other) => {
      expect(names).toContain(other);
      expect(names.indexOf(other)).toBeLessThan(names.indexOf(name));
    },
  );
});
