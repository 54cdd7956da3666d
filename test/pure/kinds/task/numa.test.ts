import { expect, test } from 'bun:test';
import { decodeMask, encodeMask, MASK_BYTES, policyIn } from '../../../../src/kinds/task/numa/policy.ts';

test.each([
  ['7f0000000000 default anon=3 dirty=3 N0=3 kernelpagesize_kB=4', 0, 0n],
  ['7f0000000000 prefer:1 file=/bin/sh', 1, 2n],
  ['7f0000000000 bind=static:0-1,4 anon=3', 2 | 0x8000, 0b10011n],
  ['7f0000000000 bind=static|balancing:0', 2 | 0xa000, 1n],
  ['7f0000000000 interleave=relative:0', 3 | 0x4000, 1n],
  ['7f0000000000 local', 4, 0n],
  ['7f0000000000 prefer (many):2 stack', 5, 4n],
  ['7f0000000000 weighted interleave:0-63,1023 heap', 6, (1n << 64n) - 1n + (1n << 1023n)],
])('%s', (line, mode, nodes) => {
  expect(policyIn(line)).toEqual({ start: 0x7f0000000000, mode, nodes });
});

test.each([
  '',
  'nonsense',
  '7f0000000000 clever:0',
  '7f0000000000 bind=odd:0',
  '7f0000000000 bind:3-1',
  '7f0000000000 bind:1024',
])('what is not known is left alone: %p', (line) => expect(policyIn(line)).toBeUndefined());

test('masks are as long as the kernel reads them, and come back as they were', () => {
  for (const nodes of [0n, 1n, 0x8000_0000_0000_0000n, 1n << 1023n, 0x1234_5678_9abc_def0_1234n]) {
    const mask = encodeMask(nodes);
    expect(mask.length).toBe(MASK_BYTES);
    expect(decodeMask(mask)).toBe(nodes);
  }
});
