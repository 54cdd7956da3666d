/** Finds the pages of a task that have to be stored where the kernel has no PAGEMAP_SCAN. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange } from '../contract/contract.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { type Fd, trySyscall } from '../kernel/syscall.ts';
import { addRange } from './plan/ranges.ts';
import { isVsyscall } from './scan.ts';

/**
 * Reads pagemap words: bit 63 present, 62 swapped, 61 file page or shared anonymous. Zero pages cannot be recognised
 * and are stored.
 */
export function readPagemap(pagemap: Fd, vmas: readonly ProcVma[]): PageRange[] {
  const found: PageRange[] = [];
  const chunk = new Uint32Array(2 * 8192);
  for (const vma of vmas) {
    if (vma.shared || isVsyscall(vma)) continue;
    const pages = (vma.end - vma.start) / PAGE_SIZE;
    for (let done = 0; done < pages; ) {
      const want = Math.min(8192, pages - done);
      const at = (vma.start / PAGE_SIZE + done) * 8;
      const got = trySyscall('pread64', pagemap.number, chunk, want * 8, at) / 8;
      if (got <= 0) break;
      for (let i = 0; i < got; i++) {
        const high = chunk[2 * i + 1] ?? 0;
        if (high >>> 30 !== 0 && ((high >>> 29) & 1) === 0)
          addRange(found, vma.start + (done + i) * PAGE_SIZE, PAGE_SIZE);
      }
      done += got;
    }
  }
  return found;
}
