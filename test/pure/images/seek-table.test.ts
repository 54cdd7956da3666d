/** The table behind compressed page contents. */
import { expect, test } from 'bun:test';
import { ImageError } from '../../../src/images/error.ts';
import {
  decodeSeekTable,
  encodeSeekTable,
  FOOTER,
  FRAME_SIZE,
  type Frame,
  seekTableSize,
} from '../../../src/images/seek-table.ts';
import { damages, generator } from '../damage.ts';

const FRAMES: readonly Frame[] = [
  { packed: 100_000, plain: FRAME_SIZE },
  { packed: 20, plain: FRAME_SIZE },
  { packed: 5000, plain: 12_288 },
];
const sizeOf = (frames: readonly Frame[], table: Uint8Array): number =>
  frames.reduce((sum, { packed }) => sum + packed, table.length);

test('it is read as it was written, also without frames', () => {
  for (const frames of [FRAMES, FRAMES.slice(0, 1), []]) {
    const table = encodeSeekTable(frames);
    expect(seekTableSize('x', table.subarray(-FOOTER))).toBe(table.length);
    expect(decodeSeekTable('x', table, sizeOf(frames, table))).toEqual([...frames]);
  }
});

test('its bytes are those of the seekable format', () => {
  const table = Buffer.from(encodeSeekTable(FRAMES.slice(2))).toString('hex');
  expect(table).toBe(`5e2a4d18${'11000000'}${'88130000'}${'00300000'}${'01000000'}00b1ea928f`);
});

test('a frame of another size in between, and a file of another size, are errors', () => {
  const odd = encodeSeekTable([...FRAMES, { packed: 10, plain: 4096 }]);
  expect(() => decodeSeekTable('x', odd, sizeOf([...FRAMES, { packed: 10, plain: 4096 }], odd))).toThrow(ImageError);
  const table = encodeSeekTable(FRAMES);
  expect(() => decodeSeekTable('x', table, sizeOf(FRAMES, table) - 1)).toThrow(ImageError);
});

test('whatever the damage, it is an error or gives frames that fill the file', () => {
  const table = encodeSeekTable(FRAMES);
  const size = sizeOf(FRAMES, table);
  const random = generator(5);
  for (let round = 0; round < 3000; round++) {
    const bytes = (damages[round % damages.length] as (typeof damages)[number])(table, random);
    try {
      const frames = decodeSeekTable('x', bytes, size);
      expect(sizeOf(frames, bytes)).toBe(size);
    } catch (error) {
      expect(error).toBeInstanceOf(ImageError);
    }
  }
});
