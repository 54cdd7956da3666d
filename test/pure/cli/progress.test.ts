import { describe, expect, test } from 'bun:test';
import { ProgressLine } from '../../../src/cli/progress.ts';

const MIB = 1 << 20;

describe('the line of progress', () => {
  test('does not appear before half a second, and then not more often than every 100 ms', () => {
    const line = new ProgressLine(0);
    const times = Array.from({ length: 100 }, (_, i) => i * 10);
    const shown = times.filter((now) => line.take({ step: 'freezing', done: 0, total: 0 }, now) !== undefined);
    expect(shown).toEqual([500, 600, 700, 800, 900]);
  });

  test('tells pages, bytes, rate and what remains', () => {
    const line = new ProgressLine(0);
    expect(line.take({ step: 'memory', done: 0, total: 1024 * MIB }, 100)).toBeUndefined();
    expect(line.take({ step: 'memory', done: 256 * MIB, total: 1024 * MIB }, 600)).toBe(
      'Memory: 256 of 1024 MiB, 65536 pages, 512 MiB/s, 2 s left',
    );
  });

  test('tells tasks where there are several', () => {
    const line = new ProgressLine(0);
    expect(line.take({ step: 'asking', done: 3, total: 40 }, 500)).toBe('Asking the tasks: 3 of 40 tasks');
    expect(line.take({ step: 'asking', done: 0, total: 1 }, 600)).toBe('Asking the tasks');
  });
});
