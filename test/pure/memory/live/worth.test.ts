/** Of which tasks copies are made. */
import { expect, test } from 'bun:test';
import type { ProcVma } from '../../../../src/kernel/proc/smaps.ts';
import { privateBytes } from '../../../../src/memory/live/amount.ts';
import { MOST_APART, rangesApart, whyNoCopy } from '../../../../src/memory/live/worth.ts';

const MIB = 1 << 20;

function vma(start: number, flags: string, more: Partial<ProcVma> = {}): ProcVma {
  return {
    ...{ start, end: start + MIB, prot: 3, shared: false, offset: 0, devMajor: 0, devMinor: 0, ino: 0n, name: '' },
    ...{ vmFlags: new Set(flags.split(' ')), kernelPageSize: 4096, rss: MIB, rssShared: 0, protectionKey: 0 },
    ...{ anonymous: MIB / 2, swap: MIB / 4 },
    ...more,
  };
}

test('private memory counts, swapped or not', () => {
  expect(privateBytes([vma(MIB, 'rd wr'), vma(3 * MIB, 'rd wr', { shared: true })])).toBe(0.75 * MIB);
});

test('what children do not inherit is read before, and the vdso', () => {
  const vmas = [
    vma(1 * MIB, 'rd wr'),
    vma(2 * MIB, 'rd wr dc'),
    vma(3 * MIB, 'rd wr wf'),
    vma(5 * MIB, 'rd wr dc', { shared: true }),
    vma(7 * MIB, 'rd ex', { name: '[vdso]' }),
  ];
  expect(rangesApart(vmas)).toEqual([
    { start: 2 * MIB, length: 2 * MIB },
    { start: 7 * MIB, length: MIB },
  ]);
  expect(whyNoCopy(vmas)).toBeUndefined();
});

test('no copy is made where it would harm, or be of no use', () => {
  expect(whyNoCopy([vma(MIB, 'rd wr ht')])).toMatch(/huge pages of a pool/);
  expect(whyNoCopy([vma(MIB, 'rd wr ht', { shared: true })])).toBeUndefined();
  expect(whyNoCopy([vma(MIB, 'rd wr', { name: '/[aio] (deleted)', shared: true })])).toMatch(/AIO/);
  expect(whyNoCopy([vma(MIB, 'rd wr wf', { anonymous: MOST_APART })])).toMatch(/not inherited/);
});
