/** The contents of segments: which pages of a file are stored, and how they come back into memory. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange, RestoreContext } from '../contract/contract.ts';
import { ImageError } from '../images/error.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import { storedPieces } from './page-store.ts';
import { PagesFiles } from './pages-files.ts';

/** Page-aligned ranges that cover the given ones, without overlap. */
export function pageRanges(ranges: Iterable<{ start: number; end: number }>): PageRange[] {
  const out: { start: number; length: number }[] = [];
  for (const range of ranges) {
    const start = Math.floor(range.start / PAGE_SIZE) * PAGE_SIZE;
    const end = Math.ceil(range.end / PAGE_SIZE) * PAGE_SIZE;
    const last = out.at(-1);
    if (last && last.start + last.length >= start) last.length = Math.max(last.length, end - last.start);
    else out.push({ start, length: end - start });
  }
  return out;
}

/**
 * Reads stored pages directly into our mapping of an empty segment, so that they are copied only once.
 * @throws ImageError when they are missing
 */
export function fillMapping(at: number, shmid: number, length: number, context: RestoreContext): void {
  const pieces = storedPieces(context.images, Images.shmemPagemap, shmid);
  const name = imageName(Images.shmemPagemap, shmid);
  if (!pieces) throw new ImageError({ file: name, reason: 'the content of a segment is missing' });
  using files = new PagesFiles();
  for (const piece of pieces) {
    if (piece.start + piece.length > length) {
      throw new ImageError({ file: name, reason: `page beyond the end (${length} bytes)` });
    }
    files.read(piece.file, piece.offset, piece.length, at + piece.start);
    context.filled?.(piece.length);
  }
}
