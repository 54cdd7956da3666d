/**
 * Finds the pages of a task that have to be stored: by PAGEMAP_SCAN (since 6.7), or by reading /proc/PID/pagemap on
 * older kernels.
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange } from '../contract/contract.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { PAGE_IS, PAGEMAP_SCAN } from '../kernel/constants/memory.ts';
import { Pins } from '../kernel/ffi.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { addRange, endOf, without } from './ranges.ts';

/** Pages to be stored, and guard regions (6.13), both in ascending order. */
export interface OwnPages {
  readonly ranges: PageRange[];
  readonly guards: PageRange[];
}

/** Scans the whole address space of a task. Zero pages, unchanged pages of files and untouched pages are left out. */
export function scanOwnPages(pid: number, vmas: readonly ProcVma[]): OwnPages {
  using pagemap = new Fd(syscall('openat', AT.FDCWD, arenaPath(`/proc/${pid}/pagemap`), O.RDONLY | O.CLOEXEC));
  const unwanted = PAGE_IS.FILE | PAGE_IS.PFNZERO;
  const end = endOfMappings(vmas);
  const ranges = scan(pagemap, end, { inverted: unwanted, all: unwanted, any: PAGE_IS.PRESENT | PAGE_IS.SWAPPED });
  if (!ranges) return { ranges: readPagemap(pagemap, vmas), guards: [] };
  // The kernel answers EINVAL if it does not know guard regions; then there are none.
  const guards = scan(pagemap, end, { inverted: 0, all: PAGE_IS.GUARD, any: 0 }) ?? [];
  // A guard region has no contents, although its markers may look like swapped pages to the scan.
  return { ranges: without(ranges, guards), guards };
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
function isVsyscall({ name }: ProcVma): boolean {
  return name === '[vsyscall]';
}

interface Wanted {
  readonly inverted: number;
  readonly all: number;
  readonly any: number;
}

const REGION_BYTES = 24;
const REGIONS = 1024;

/** One pass of PAGEMAP_SCAN; undefined if the kernel does not know it (or the category). */
function scan(pagemap: Fd, end: number, wanted: Wanted): PageRange[] | undefined {
  using pins = new Pins();
  const regions = new Uint8Array(REGIONS * REGION_BYTES);
  const view = new DataView(regions.buffer);
  const found: PageRange[] = [];
  const args = new BigUint64Array(12); // struct pm_scan_arg
  args[0] = 96n;
  args[3] = BigInt(end);
  args[5] = BigInt(pins.address(regions));
  args[6] = BigInt(REGIONS);
  args[8] = BigInt(wanted.inverted);
  args[9] = BigInt(wanted.all);
  args[10] = BigInt(wanted.any);
  args[11] = BigInt(PAGE_IS.GUARD | PAGE_IS.PFNZERO);
  for (let start = 0, got = REGIONS; got === REGIONS; ) {
    args[2] = BigInt(start);
    got = trySyscall('ioctl', pagemap.number, PAGEMAP_SCAN, args);
    if (got === -ERRNO.ENOTTY || got === -ERRNO.EINVAL) return undefined;
    if (got < 0) throw new SyscallError('ioctl', -got, { resource: 'PAGEMAP_SCAN' });
    for (let i = 0; i < got; i++) {
      const from = Number(view.getBigUint64(i * REGION_BYTES, true));
      addRange(found, from, Number(view.getBigUint64(i * REGION_BYTES + 8, true)) - from);
    }
    // walk_end, which the kernel returns, may lie before the last region found: it is not updated each time the kernel
    // has emptied its internal buffer of 512 regions. The walk only ends early if our buffer is full, so it goes on
    // from the end of the last region.
    start = endOf(found[found.length - 1]);
  }
  return found;
}

/**
 * Reads pagemap words: bit 63 present, 62 swapped, 61 file page or shared anonymous. Zero pages cannot be recognised
 * and are stored.
 */
function readPagemap(pagemap: Fd, vmas: readonly ProcVma[]): PageRange[] {
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
