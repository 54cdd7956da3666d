/** The size of a page: one constant, which the kernel is asked about once. */
import { expect, test } from 'bun:test';
import { PAGE_SIZE } from '../../../src/arch/page-size.ts';
import { IMAGE_PAGE_SIZE } from '../../../src/images/wire.ts';
import { requirePageSize } from '../../../src/kernel/page-size.ts';

const [AT_NULL, AT_PAGESZ, AT_CLKTCK] = [0n, 6n, 17n];

function auxv(...words: readonly bigint[]): Uint8Array {
  return new Uint8Array(new BigUint64Array([...words, AT_NULL, 0n]).buffer);
}

test('this kernel has it', () => {
  requirePageSize();
  requirePageSize(auxv(AT_CLKTCK, 100n, AT_PAGESZ, BigInt(PAGE_SIZE)));
  expect(IMAGE_PAGE_SIZE).toBe(PAGE_SIZE);
});

test('another one is refused in a sentence', () => {
  const refusal = 'pages of 65536 bytes: Stasis is built for pages of 4096 bytes';
  expect(() => requirePageSize(auxv(AT_CLKTCK, 100n, AT_PAGESZ, 65536n))).toThrow(refusal);
});
