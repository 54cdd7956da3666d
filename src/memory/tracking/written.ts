/** Which pages of a task's own were written to since writes are noticed. */
import type { PageRange } from '../../contract/contract.ts';
import { PAGE_IS, PM_SCAN } from '../../kernel/constants/memory.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { addRange, partsBy } from '../plan/ranges.ts';
import { OWN, OWN_OF_ANONYMOUS, scan } from '../scan.ts';

/**
 * The own pages of a range that were written to since they were protected, which they are then again; the kernel does
 * both at once. Undefined unless all of the range is registered (kernel/userfault.ts). `anonymous`: see
 * {@link anonymousRanges}.
 */
export function takeWritten(pagemap: Fd, range: PageRange, anonymous: readonly PageRange[]): PageRange[] | undefined {
  return written(pagemap, range, anonymous, PM_SCAN.WP_MATCHING | PM_SCAN.CHECK_WPASYNC);
}

/** The same, without protecting anything. */
export function writtenIn(pagemap: Fd, range: PageRange, anonymous: readonly PageRange[]): PageRange[] | undefined {
  return written(pagemap, range, anonymous, PM_SCAN.CHECK_WPASYNC);
}

function written(
  pagemap: Fd,
  range: PageRange,
  anonymous: readonly PageRange[],
  flags: number,
): PageRange[] | undefined {
  const found: PageRange[] = [];
  for (const part of partsBy(range, anonymous)) {
    const wanted = part.inside ? OWN_OF_ANONYMOUS : OWN;
    const pages = scan(pagemap, part, { ...wanted, all: wanted.all | PAGE_IS.WRITTEN, flags });
    if (!pages) return undefined;
    for (const { start, length } of pages) addRange(found, start, length);
  }
  return found;
}
