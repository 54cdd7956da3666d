/** Finds stored pages that are equal in two tasks, for image sets that do not say which pages were shared (CRIU's). */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange } from '../contract/contract.ts';
import { PagesFiles } from '../support/pages-files.ts';
import { addRange } from './plan/ranges.ts';
import { readPages, type StoredPiece } from './sources/images.ts';

/** In bytes. Two such buffers stay in the processor's cache. */
const CHUNK = 256 << 10;

/**
 * The pages of `ranges` whose content is the same in both tasks; both must have stored all of them. @throws ImageError
 */
export function equalPages(
  one: readonly StoredPiece[],
  other: readonly StoredPiece[],
  ranges: readonly PageRange[],
): PageRange[] {
  const equal: PageRange[] = [];
  if (ranges.length === 0) return equal;
  using files = new PagesFiles();
  const a = Buffer.alloc(CHUNK);
  const b = Buffer.alloc(CHUNK);
  for (const { start, length } of ranges) {
    for (let done = 0; done < length; done += CHUNK) {
      const size = Math.min(CHUNK, length - done);
      readPages(files, one, start + done, size, a);
      readPages(files, other, start + done, size, b);
      addEqual(equal, a, b, 0, size, start + done);
    }
  }
  return equal;
}

/** Adds the equal pages of two buffers: a part that differs is halved until it is one page. */
function addEqual(equal: PageRange[], a: Buffer, b: Buffer, from: number, to: number, address: number): void {
  if (a.compare(b, from, to, from, to) === 0) {
    addRange(equal, address + from, to - from);
  } else if (to - from > PAGE_SIZE) {
    const middle = from + Math.ceil((to - from) / PAGE_SIZE / 2) * PAGE_SIZE;
    addEqual(equal, a, b, from, middle, address);
    addEqual(equal, a, b, middle, to, address);
  }
}
