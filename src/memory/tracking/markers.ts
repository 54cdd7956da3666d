/** What looks like swapped pages in private mappings of files that writes are noticed to. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { PageRange } from '../../contract/contract.ts';
import { PAGE_IS } from '../../kernel/constants/memory.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { eachWord } from '../pagemap-words.ts';
import { addRange } from '../plan/ranges.ts';
import { isWatchedFile, scan } from '../scan.ts';

/** The upper half of a pagemap word: swapped. */
const SWAPPED = 1 << 30;
/** The low bits of a pagemap word of a swapped page are the type of its swap entry. */
const SWAP_TYPE = 0x1f;

/**
 * Pages of private file mappings that writes are noticed to, of which the task has given its copy back (MADV_DONTNEED):
 * the kernel leaves a marker, which looks like a swapped page, and their content is the file's
 * (`pte_install_uffd_wp_if_needed()` in include/linux/mm_inline.h). Its type is the highest one, SWP_PTE_MARKER. For
 * readers that may not see types (without CAP_SYS_ADMIN) every swapped page is taken for one of the task's.
 */
export function markersIn(pagemap: Fd, vmas: readonly ProcVma[]): PageRange[] {
  const found: PageRange[] = [];
  for (const pages of swappedOfFiles(pagemap, vmas)) {
    eachWord(pagemap, pages, (at, low, high) => {
      if ((high & SWAPPED) !== 0 && (low & SWAP_TYPE) === SWAP_TYPE) addRange(found, at, PAGE_SIZE);
    });
  }
  return found;
}

/** What looks like swapped pages in private file mappings that writes are noticed to: swapped pages, and markers. */
export function swappedOfFiles(pagemap: Fd, vmas: readonly ProcVma[]): PageRange[] {
  const absent = { inverted: PAGE_IS.PRESENT, all: PAGE_IS.PRESENT | PAGE_IS.SWAPPED, any: 0 };
  return vmas
    .filter(isWatchedFile)
    .flatMap(({ start, end }) => scan(pagemap, { start, length: end - start }, absent) ?? []);
}
