import { describe, expect, test } from 'bun:test';
import type { PageRange } from '../../../../src/contract/contract.ts';
import type { ProcVma } from '../../../../src/kernel/proc/smaps.ts';
import { common, endOf } from '../../../../src/memory/plan/ranges.ts';
import { unchanged } from '../../../../src/memory/tracking/changes.ts';
import { type SoftDirtyBits, SoftDirtyTracker } from '../../../../src/memory/tracking/soft-dirty.ts';
import { type WriteProtection, WriteProtectTracker } from '../../../../src/memory/tracking/write-protect.ts';

const PAGE = 4096;
const at = (start: number, pages: number): PageRange => ({ start: start * PAGE, length: pages * PAGE });

function vma(start: number, pages: number, flags: string, more: Partial<ProcVma> = {}): ProcVma {
  const range = { start: start * PAGE, end: (start + pages) * PAGE };
  return { ...range, shared: false, name: '', ino: 0n, vmFlags: new Set(flags.split(' ')), ...more } as ProcVma;
}

/** A kernel that watches some ranges, in which some pages were written to. */
class FakeProtection implements WriteProtection {
  watched: PageRange[] = [];
  writtenTo: PageRange[] = [];
  /** Where somebody else watches. */
  foreign: PageRange[] = [];
  calls = 0;

  register(range: PageRange): boolean {
    this.calls++;
    if (common([range], this.foreign).length > 0) return false;
    this.watched.push(range);
    return true;
  }

  written(range: PageRange, anew: boolean): PageRange[] | undefined {
    if (!this.watched.some(({ start, length }) => start <= range.start && endOf(range) <= start + length))
      return undefined;
    const found = common(this.writtenTo, [range]);
    if (anew) this.writtenTo = this.writtenTo.filter((pages) => common([pages], [range]).length === 0);
    return found;
  }
}

describe('write protection', () => {
  test('a mapping that was not watched before is unknown, and known the next time', () => {
    const kernel = new FakeProtection();
    const tracker = new WriteProtectTracker(kernel);
    expect(tracker.take([vma(10, 4, 'rd wr')]).unknown).toEqual([at(10, 4)]);
    kernel.writtenTo = [at(11, 1)];
    expect(tracker.take([vma(10, 4, 'rd wr uw')])).toEqual({ written: [at(11, 1)], unknown: [] });
    expect(tracker.take([vma(10, 4, 'rd wr uw')])).toEqual({ written: [], unknown: [] });
  });

  test('a look does not begin anew, and puts nothing under watch', () => {
    const kernel = new FakeProtection();
    kernel.watched = [at(10, 4)];
    kernel.writtenTo = [at(12, 1)];
    const tracker = new WriteProtectTracker(kernel);
    const vmas = [vma(10, 4, 'uw'), vma(20, 1, '')];
    for (const _ of [1, 2]) expect(tracker.look(vmas)).toEqual({ written: [at(12, 1)], unknown: [at(20, 1)] });
    expect(kernel.calls).toBe(0);
  });

  test('neighbours are asked for together, and one by one where that fails', () => {
    const kernel = new FakeProtection();
    const tracker = new WriteProtectTracker(kernel);
    const vmas = [vma(10, 2, 'uw'), vma(14, 2, 'uw'), vma(18, 2, 'uw')];
    tracker.take(vmas);
    expect(kernel.calls).toBe(1);
    kernel.foreign = [at(14, 2)];
    kernel.writtenTo = [at(19, 1)];
    expect(tracker.take(vmas)).toEqual({ written: [at(19, 1)], unknown: [at(14, 2)] });
  });

  test('shared memory, the kernel’s pages and rings are never known', () => {
    const kernel = new FakeProtection();
    const vmas = [
      vma(10, 1, 'uw', { shared: true }),
      vma(11, 1, 'uw', { name: '[vdso]' }),
      vma(12, 1, 'uw', { name: '[vvar]' }),
      vma(14, 1, 'uw', { name: '/[aio] (deleted)' }),
    ];
    expect(new WriteProtectTracker(kernel).take(vmas)).toEqual({ written: [], unknown: [at(10, 3), at(14, 1)] });
    expect(kernel.calls).toBe(0);
  });
});

describe('soft-dirty bits', () => {
  function bits(): SoftDirtyBits & { dirty: PageRange[]; cleared: number } {
    return {
      dirty: [],
      cleared: 0,
      written(range) {
        return common(this.dirty, [range]);
      },
      clear() {
        this.dirty = [];
        this.cleared++;
      },
    };
  }

  test('nothing is known before they were cleared', () => {
    const kernel = bits();
    const tracker = new SoftDirtyTracker(kernel, false);
    expect(tracker.take([vma(10, 4, 'sd')]).unknown).toEqual([at(10, 4)]);
    kernel.dirty = [at(10, 1)];
    expect(tracker.take([vma(10, 4, '')])).toEqual({ written: [at(10, 1)], unknown: [] });
    expect(kernel.cleared).toBe(2);
  });

  test('a mapping made since is unknown; a look clears nothing', () => {
    const kernel = bits();
    const tracker = new SoftDirtyTracker(kernel, true);
    kernel.dirty = [at(11, 1)];
    const vmas = [vma(10, 4, ''), vma(20, 2, 'sd')];
    expect(tracker.look(vmas)).toEqual({ written: [at(11, 1)], unknown: [at(20, 2)] });
    expect(kernel.cleared).toBe(0);
  });
});

test('only what the parent has, has not been written to and is known is unchanged', () => {
  const own = [at(0, 10), at(20, 10)];
  const parent = [at(2, 20), at(26, 10)];
  const changes = { written: [at(3, 1), at(27, 1)], unknown: [at(8, 4)] };
  expect(unchanged(own, parent, changes)).toEqual([at(2, 1), at(4, 4), at(20, 2), at(26, 1), at(28, 2)]);
});
