/**
 * Finds the pages of a task that have to be stored: by PAGEMAP_SCAN (since 6.7), or by reading /proc/PID/pagemap on
 * older kernels.
 */

import { Part } from '../base/part.ts';
import type { PageRange } from '../contract/contract.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { PAGE_IS, PAGEMAP_SCAN } from '../kernel/constants/memory.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { addRange, endOf, partsBy, without } from './plan/ranges.ts';
import { isAnonymous } from './vma.ts';

// Only of a task that writes are noticed to.
const MARKERS = new Part(() => require('./tracking/markers.ts') as typeof import('./tracking/markers.ts'));
// Only on kernels before 6.7.
const OLD = new Part(() => require('./pagemap-words.ts') as typeof import('./pagemap-words.ts'));

/** Pages to be stored, and guard regions (6.13), all in ascending order. */
export interface OwnPages {
  readonly ranges: PageRange[];
  readonly guards: PageRange[];
  /**
   * Of the pages to be stored those that are watched (kernel/userfault.ts), and that nobody has written to since they
   * were protected. Undefined where the kernel does not tell.
   */
  readonly unwritten: PageRange[] | undefined;
}

/**
 * Scans the address space of a task, in one pass. Zero pages, unchanged pages of files and untouched pages are left
 * out. `within`: where to look, if not at all of it; `vmas` are then the mappings there.
 */
export function scanOwnPages(pid: number, vmas: readonly ProcVma[], within?: readonly PageRange[]): OwnPages {
  using pagemap = openPagemap(pid);
  return scanPages(pagemap, vmas, within);
}

/** The same with an open pagemap. Of a process that has no memory any more it finds nothing. */
export function scanPages(
  pagemap: Fd,
  vmas: readonly ProcVma[],
  within: readonly PageRange[] = [{ start: 0, length: endOfMappings(vmas) }],
): OwnPages {
  const ranges: PageRange[] = [];
  const guards: PageRange[] = [];
  const unwritten: PageRange[] = [];
  const take = (start: number, length: number, categories: number): void => {
    // A guard region has no contents, although its markers look like swapped pages to the scan.
    const isGuard = (categories & PAGE_IS.GUARD) !== 0;
    addRange(isGuard ? guards : ranges, start, length);
    if (!isGuard && (categories & WATCHED) === PAGE_IS.WPALLOWED) addRange(unwritten, start, length);
  };
  const anonymous = anonymousRanges(vmas);
  const parts = within.flatMap((range) => [...partsBy(range, anonymous)]);
  const isDone = parts.every((part) => {
    const wanted = part.inside ? OWN_OF_ANONYMOUS : OWN;
    // The kernel answers EINVAL if it does not know guard regions, before it tells anything; then there are none.
    return (
      walk(pagemap, part, wanted, WATCHED | PAGE_IS.GUARD | PAGE_IS.PFNZERO, take) ||
      walk(pagemap, part, wanted, WATCHED | PAGE_IS.PFNZERO, take)
    );
  });
  if (!isDone) return { ranges: OLD.load().readPagemap(pagemap, vmas), guards: [], unwritten: undefined };
  if (!vmas.some(isWatchedFile)) return { ranges, guards, unwritten };
  const markers = MARKERS.load().markersIn(pagemap, vmas);
  return { ranges: without(ranges, markers), guards, unwritten: without(unwritten, markers) };
}

/** Only the guard regions, for which the kernel does not look at frames. */
export function scanGuards(pid: number, vmas: readonly ProcVma[]): PageRange[] {
  using pagemap = openPagemap(pid);
  const all = { start: 0, length: endOfMappings(vmas) };
  return scan(pagemap, all, { inverted: 0, all: PAGE_IS.GUARD, any: 0 }, PAGE_IS.GUARD) ?? [];
}

/** Whether it is a private mapping of a file that writes are noticed to. */
export function isWatchedFile(vma: ProcVma): boolean {
  return !vma.shared && vma.vmFlags?.has('uw') === true && !isAnonymous(vma);
}

/** Whether writes to a page are noticed, and whether one was. */
const WATCHED = PAGE_IS.WPALLOWED | PAGE_IS.WRITTEN;

export function openPagemap(pid: number): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath(`/proc/${pid}/pagemap`), O.RDONLY | O.CLOEXEC));
}

/** Pages that are the task's own: neither unchanged pages of files nor the zero page. */
export const OWN: Wanted = {
  inverted: PAGE_IS.FILE | PAGE_IS.PFNZERO,
  all: PAGE_IS.FILE | PAGE_IS.PFNZERO,
  any: PAGE_IS.PRESENT | PAGE_IS.SWAPPED,
};

/**
 * The same for pages of anonymous memory, none of which are of files. To tell that, the kernel would look at the frame
 * of each page, which takes more than three times as long as all else (17 ms a GiB instead of 5).
 */
export const OWN_OF_ANONYMOUS: Wanted = { ...OWN, inverted: PAGE_IS.PFNZERO, all: PAGE_IS.PFNZERO };

/** Smaller mappings are not worth a call of their own. */
const WORTH_A_CALL = 1 << 20;

/** Where {@link OWN_OF_ANONYMOUS} says the same as {@link OWN}: large private anonymous mappings of ordinary pages. */
export function anonymousRanges(vmas: readonly ProcVma[]): PageRange[] {
  const isPlain = (vma: ProcVma): boolean =>
    !vma.shared && isAnonymous(vma) && !vma.name.startsWith('/') && !vma.vmFlags?.has('ht');
  const ranges: PageRange[] = [];
  for (const vma of vmas) {
    if (vma.end - vma.start >= WORTH_A_CALL && isPlain(vma)) addRange(ranges, vma.start, vma.end - vma.start);
  }
  return ranges;
}

/**
 * The end of the highest mapping. How far mappings may reach depends on the processor's page tables and on what a
 * program asks for (mmap() above 2^47 with five levels), and PAGEMAP_SCAN refuses an end beyond the possible addresses.
 */
export function endOfMappings(vmas: readonly ProcVma[]): number {
  return vmas.findLast((vma) => !isVsyscall(vma))?.end ?? 0;
}

/**
 * The vsyscall page, which belongs to the kernel and is listed among each task's mappings (arch/x86/entry/vsyscall).
 */
export function isVsyscall({ name }: ProcVma): boolean {
  return name === '[vsyscall]';
}

/** Categories (PAGE_IS) of pages, and what to do with them. */
export interface Wanted {
  readonly inverted: number;
  readonly all: number;
  readonly any: number;
  /** PM_SCAN. */
  readonly flags?: number;
}

/** A struct page_region (start, end, categories) in halves of words, and how many are asked for at once. */
const REGION_HALVES = 6;
const REGIONS = 1024;

/** What the kernel is asked (struct pm_scan_arg), and what it answers. Used again for each pass. */
const asked = new PinnedBuffer(new BigUint64Array(12));
const regions = new PinnedBuffer(new Uint32Array(REGIONS * REGION_HALVES));

/**
 * One pass of PAGEMAP_SCAN; undefined if the kernel does not know it (or the category), or where it does not watch what
 * is asked for (EPERM).
 */
export function scan(
  pagemap: Fd,
  range: PageRange,
  wanted: Wanted,
  returned: number = PAGE_IS.PFNZERO,
): PageRange[] | undefined {
  const found: PageRange[] = [];
  return walk(pagemap, range, wanted, returned, (start, length) => addRange(found, start, length)) ? found : undefined;
}

/**
 * One pass of PAGEMAP_SCAN, which tells `take` of the categories in `returned` of each region. Returns whether the
 * kernel could; if it could not from the beginning, nothing was told.
 */
function walk(
  pagemap: Fd,
  range: PageRange,
  wanted: Wanted,
  returned: number,
  take: (start: number, length: number, categories: number) => void,
): boolean {
  const args = asked.view;
  const words = regions.view;
  args[0] = 96n;
  args[1] = BigInt(wanted.flags ?? 0);
  args[3] = BigInt(endOf(range));
  args[5] = BigInt(regions.address);
  args[6] = BigInt(REGIONS);
  args[8] = BigInt(wanted.inverted);
  args[9] = BigInt(wanted.all);
  args[10] = BigInt(wanted.any);
  args[11] = BigInt(returned);
  for (let { start } = range, got = REGIONS; got === REGIONS; ) {
    args[2] = BigInt(start);
    got = trySyscall('ioctl', pagemap.number, PAGEMAP_SCAN, asked.address);
    if (got === -ERRNO.ENOTTY || got === -ERRNO.EINVAL || got === -ERRNO.EPERM) return false;
    if (got < 0) throw new SyscallError('ioctl', -got, { resource: 'PAGEMAP_SCAN' });
    for (let i = 0; i < got; i++) {
      const at = i * REGION_HALVES;
      const from = address(words[at], words[at + 1]);
      // walk_end, which the kernel returns, may lie before the last region found: it is not updated each time the
      // kernel has emptied its internal buffer of 512 regions. The walk only ends early if our buffer is full, so it
      // goes on from the end of the last region.
      start = address(words[at + 2], words[at + 3]);
      take(from, start - from, words[at + 4] ?? 0);
    }
  }
  return true;
}

/** An address of two halves. */
function address(low = 0, high = 0): number {
  return high * 0x1_0000_0000 + low;
}
