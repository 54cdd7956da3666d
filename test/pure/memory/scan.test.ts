/** How far a task's mappings are scanned. */
import { expect, test } from 'bun:test';
import { parseSmaps } from '../../../src/kernel/proc/smaps.ts';
import { endOfMappings } from '../../../src/memory/scan.ts';

const STACK = '7ffc8d4e1000-7ffc8d502000 rw-p 00000000 00:00 0                          [stack]\n';
/** Where mmap() puts what is asked for above 2^47, with five-level page tables. */
const HIGH = 'fffffffe000000-ffffffff000000 rw-p 00000000 00:00 0 \n';
const VSYSCALL = 'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n';

const endOf = (...lines: readonly string[]): number => endOfMappings(parseSmaps(Buffer.from(lines.join(''))));

test('to the end of the last mapping of its own', () => {
  expect(endOf(STACK, VSYSCALL)).toBe(0x7ffc_8d50_2000);
  expect(endOf(STACK)).toBe(0x7ffc_8d50_2000);
});

test('also above 2^47, exactly', () => {
  expect(BigInt(endOf(STACK, HIGH, VSYSCALL))).toBe(0xff_ffff_ff00_0000n);
});

test('nothing at all', () => {
  expect(endOf(VSYSCALL)).toBe(0);
  expect(endOf()).toBe(0);
});
