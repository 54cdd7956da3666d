import { describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupProperties } from '../../../src/api/cgroup-properties.ts';

const CPU = '"cpu":\n - "strategy": "replace"\n - "properties": ["cpu.shares", "cpu.cfs_period_us"]';
const MEMORY = '"memory":\n - "strategy": "merge"\n - "properties": []';
const WANTED = [
  { controller: 'cpu', replace: true, properties: ['cpu.shares', 'cpu.cfs_period_us'] },
  { controller: 'memory', replace: false, properties: [] },
];

const of = (cgroupProps: string) => cgroupProperties(undefined, cgroupProps);

describe('--cgroup-props', () => {
  test('one after the other, as in the manual of CRIU', () => {
    expect(of(`${CPU}\n ${MEMORY}\n`)).toEqual(WANTED);
    expect(of('')).toEqual([]);
  });

  test('from a file', () => {
    const dir = mkdtempSync(join(tmpdir(), 'stasis-test-'));
    try {
      const file = join(dir, 'props');
      writeFileSync(file, `${CPU}\n`);
      expect(cgroupProperties(file, MEMORY)).toEqual(WANTED);
      expect(() => cgroupProperties(join(dir, 'none'), undefined)).toThrow('there is no such file');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('what is of another form is refused, with the place', () => {
    expect(() => of('cpu: 1')).toThrow('not understood: cpu: 1');
    expect(() => of(`${CPU}\nrest`)).toThrow('not understood: rest');
    expect(() => of(CPU.replace('replace', 'add'))).toThrow('"add" is neither merge nor replace');
    expect(() => of(CPU.replace('"cpu.shares"', '../x'))).toThrow('no name of a control file: ../x');
  });
});
