/**
 * Compressed page contents: frames of Zstandard (RFC 8878), and after them a table of their sizes, in a frame that
 * decompressors skip (the "seekable format" of the zstd project). So any part can be read by itself, and `zstd -d`
 * makes the plain file of it.
 */

import { ImageError } from './error.ts';

/** How much each frame holds uncompressed, in bytes; the last one less. */
export const FRAME_SIZE = 256 * 1024;

/** A frame: how many bytes it has, and how many bytes of content. */
export interface Frame {
  readonly packed: number;
  readonly plain: number;
}

const SKIPPABLE = 0x184d2a5e;
const SEEKABLE = 0x8f92eab1;
const HEADER = 8;
const ENTRY = 8;
/** What ends the table: the number of frames, flags, and a magic number. */
export const FOOTER = 9;

/** The table of these frames. */
export function encodeSeekTable(frames: readonly Frame[]): Uint8Array {
  const size = frames.length * ENTRY + FOOTER;
  const bytes = new Uint8Array(HEADER + size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, SKIPPABLE, true);
  view.setUint32(4, size, true);
  frames.forEach(({ packed, plain }, i) => {
    view.setUint32(HEADER + i * ENTRY, packed, true);
    view.setUint32(HEADER + i * ENTRY + 4, plain, true);
  });
  view.setUint32(bytes.length - FOOTER, frames.length, true);
  view.setUint32(bytes.length - 4, SEEKABLE, true);
  return bytes;
}

/** The size of a table, told by the last {@link FOOTER} bytes of a file. @throws ImageError if these are none */
export function seekTableSize(file: string, footer: Uint8Array): number {
  const view = new DataView(footer.buffer, footer.byteOffset, footer.byteLength);
  if (footer.length !== FOOTER || view.getUint32(5, true) !== SEEKABLE || view.getUint8(4) !== 0) throw damaged(file);
  return HEADER + view.getUint32(0, true) * ENTRY + FOOTER;
}

/**
 * The frames of a file of `size` bytes, told by the table at its end.
 * @throws ImageError if the table is damaged, or is not that of a dump
 */
export function decodeSeekTable(file: string, table: Uint8Array, size: number): Frame[] {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  if (table.length < HEADER + FOOTER || seekTableSize(file, table.subarray(-FOOTER)) !== table.length) {
    throw damaged(file);
  }
  if (view.getUint32(0, true) !== SKIPPABLE || view.getUint32(4, true) !== table.length - HEADER) throw damaged(file);
  const frames: Frame[] = [];
  let sum = table.length;
  for (let at = HEADER; at < table.length - FOOTER; at += ENTRY) {
    const frame = { packed: view.getUint32(at, true), plain: view.getUint32(at + 4, true) };
    const isLast = at + ENTRY === table.length - FOOTER;
    if (frame.plain > FRAME_SIZE || frame.plain === 0 || (frame.plain < FRAME_SIZE && !isLast)) throw damaged(file);
    sum += frame.packed;
    frames.push(frame);
  }
  if (sum !== size) throw damaged(file);
  return frames;
}

function damaged(file: string): ImageError {
  return new ImageError({ file, reason: 'the table of its frames is damaged, or the file was cut' });
}
