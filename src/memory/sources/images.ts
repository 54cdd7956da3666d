/** The stored pages of a task: where their contents are, and reading some of them. */

import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { PageRange, RestoreContext } from '../../contract/contract.ts';
import { ImageError } from '../../images/error.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { sentPagemapName } from '../../images/own-files.ts';
import { PageFlags, readPagemap } from '../../images/pagemap.ts';
import { Pins } from '../../kernel/ffi.ts';
import { type StoredPiece, storedPieces } from '../../support/page-store.ts';
import { PagesFiles } from '../../support/pages-files.ts';
import { addRange, endOf, firstBehind } from '../plan/ranges.ts';

export type { StoredPiece };

/** The stored pages of a task. @throws ImageError if they are missing, or fewer than the pagemap says */
export function storedPagesOf(pid: number, context: RestoreContext): readonly StoredPiece[] {
  const pieces = storedPieces(context.images, Images.pagemap, pid);
  if (!pieces) throw new ImageError({ file: `pagemap-${pid}.img`, reason: 'image is missing' });
  return pieces;
}

/**
 * The pages of a task that the images of a dump hold, in whatever set of a chain; undefined if they have none of it.
 * Those of a dump whose pages went to a page server know them all the same.
 */
export function rangesHeld(images: ImageSet, pid: number): readonly PageRange[] | undefined {
  const name = sentPagemapName(Images.pagemap, pid);
  const sent = images.own(name);
  if (sent) {
    const ranges: PageRange[] = [];
    for (const { start, pages } of readPagemap(name, sent).runs) addRange(ranges, start, pages * PAGE_SIZE);
    return ranges;
  }
  const pieces = storedPieces(images, Images.pagemap, pid);
  return pieces && rangesOf(pieces);
}

/** The pages of a task that a restore may leave until they are needed. */
export function lazyPagesOf(images: ImageSet, pid: number): PageRange[] {
  const ranges: PageRange[] = [];
  for (const { start, pages, flags } of images.readPagemap(Images.pagemap, pid)?.runs ?? []) {
    if (flags & PageFlags.LAZY) addRange(ranges, start, pages * PAGE_SIZE);
  }
  return ranges;
}

/** The memory ranges of pieces. */
export function rangesOf(pieces: readonly StoredPiece[]): PageRange[] {
  const ranges: PageRange[] = [];
  for (const { start, length } of pieces) addRange(ranges, start, length);
  return ranges;
}

/** The parts of pieces that lie in ranges; both lists must be ascending. */
export function piecesIn(pieces: readonly StoredPiece[], ranges: readonly PageRange[]): StoredPiece[] {
  const found: StoredPiece[] = [];
  let next = 0;
  for (const range of ranges) {
    while (next < pieces.length && endOf(pieces[next]) <= range.start) next++;
    for (let i = next; i < pieces.length; i++) {
      const piece = pieces[i] as StoredPiece; // i < length
      if (piece.start >= endOf(range)) break;
      const start = Math.max(piece.start, range.start);
      const length = Math.min(endOf(piece), endOf(range)) - start;
      found.push({ start, length, file: piece.file, offset: piece.offset + start - piece.start });
    }
  }
  return found;
}

/** Reads the stored pages of `[start, start + length)` into the beginning of a buffer. @throws ImageError */
export function readPages(
  files: PagesFiles,
  pieces: readonly StoredPiece[],
  start: number,
  length: number,
  into: Uint8Array,
): void {
  using pins = new Pins();
  const buffer = pins.address(into);
  const end = start + length;
  let at = start;
  for (let i = firstBehind(pieces, start); at < end; i++) {
    const piece = pieces[i];
    if (!piece || piece.start > at) {
      throw new ImageError({ file: 'pagemap', reason: `the page at 0x${at.toString(16)} was not stored` });
    }
    const part = Math.min(endOf(piece), end) - at;
    files.read(piece.file, piece.offset + at - piece.start, part, buffer + at - start);
    at += part;
  }
}

/** The contents of a range; undefined unless all of it was stored. @throws ImageError */
export function readStored(pieces: readonly StoredPiece[], start: number, length: number): Uint8Array | undefined {
  const inside = piecesIn(pieces, [{ start, length }]);
  if (inside.reduce((sum, piece) => sum + piece.length, 0) !== length) return undefined;
  using files = new PagesFiles();
  const bytes = new Uint8Array(length);
  readPages(files, inside, start, length, bytes);
  return bytes;
}
