/** The machine code of checksums, against the values of RFC 3720, appendix B.4. */
import { expect, test } from 'bun:test';
import { PinnedBuffer } from '../../../src/kernel/ffi.ts';
import { PageSums } from '../../../src/memory/page-sums.ts';

test('CRC-32C of each quarter', () => {
  const bytes = new PinnedBuffer(new Uint8Array(128));
  bytes.view.fill(0xff, 32, 64);
  for (let i = 0; i < 32; i++) {
    bytes.view[64 + i] = i;
    bytes.view[96 + i] = 31 - i;
  }
  const sums = new PageSums();
  expect(sums.of(bytes.address, 128)).toBe('8a9136aa62a8ab4346dd794e113fdb5c');
  bytes.view[127] = 1;
  expect(sums.of(bytes.address, 128)).not.toBe('8a9136aa62a8ab4346dd794e113fdb5c');
  bytes[Symbol.dispose]();
});
