/** Reads /proc/PID/pagemap word by word: all that kernels without PAGEMAP_SCAN tell, and the types of swapped pages. */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange } from '../contract/contract.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { type Fd, trySyscall } from '../kernel/syscall.ts';
import { addRange } from './plan/ranges.ts';
import { isVsyscall } from './scan.ts';

/** Words read at once. */
const MOST = 8192;

/**
 * The pages of a task that have to be stored. Of each word bit 63 says present, 62 swapped, 61 file page or shared
 * anonymous. Zero pages cannot be recognised and are stored.
 */
export function readPagemap(pagemap: Fd, vmas: readonly ProcVma[]): PageRange[] {
  const found: PageRange[] = [];
  for (const vma of vmas) {
    if (vma.shared || isVsyscall(vma)) continue;
    eachWord(pagemap, { start: vma.start, length: vma.end - vma.start }, (at, _, high) => {
      if (high >>> 30 !== 0 && ((high >>> 29) & 1) === 0) addRange(found, at, PAGE_SIZE);
    });
  }
  return found;
}

/** Tells of each page of a range the lower and the upper half of its word. */
export function eachWord(
  pagemap: Fd,
  { start, length }: PageRange,
  take: (at: number, low: number, high: number) => void,
): void {
  const pages = length / PAGE_SIZE;
  const words = new Uint32Array(2 * Math.min(MOST, pages));
  for (let done = 0; done < pages; ) {
    const want = Math.min(MOST, pages - done);
    const got = trySyscall('pread64', pagemap.number, words, want * 8, (start / PAGE_SIZE + done) * 8) / 8;
    if (got <= 0) return;
    for (let i = 0; i < got; i++) take(start + (done + i) * PAGE_SIZE, words[2 * i] ?? 0, words[2 * i + 1] ?? 0);
    done += got;
  }
}
