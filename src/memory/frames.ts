/** Finds page frames that tasks share, through /proc/PID/pagemap. */

import { PAGE_SIZE } from '../arch/page-size.ts';
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { PageRange } from '../contract/contract.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { arenaPath, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { addRange, endOf } from './plan/ranges.ts';

/** Pages read from pagemap in one call. */
const WINDOW = 8192;
/** Ranges with gaps of at most this many pages are read in one call. */
const GAP = 256;

// Bits of the upper halves of pagemap words. The lower half, and the low bits of the upper half, hold the number of the
// page frame or swap slot.
const SOFT_DIRTY = 1 << 23;
const EXCLUSIVE = 1 << 24;
const FRAME = 0x7f_ffff;

type Words = Uint32Array<ArrayBuffer>;

/** What is read from pagemap: of a task, and of another one before and after that. Used again for each task. */
const [words, before, after] = [0, 0, 0].map(() => new Uint32Array(2 * WINDOW)) as [Words, Words, Words];

/** The pages of `ranges` that other tasks have mapped as well. @throws SyscallError */
export function framesOfOthers(pid: HostPid, ranges: readonly PageRange[]): PageRange[] {
  const found: PageRange[] = [];
  if (ranges.length === 0) return found;
  using pagemap = openPagemap(pid);
  for (const window of windowsOf(ranges)) {
    read(pagemap, window, words);
    for (const { start, length } of window.ranges) {
      const first = (start - window.start) / PAGE_SIZE;
      for (let i = first; i < first + length / PAGE_SIZE; i++) {
        const high = words[2 * i + 1] as number; // within the window
        if (high >>> 31 === 1 && (high & EXCLUSIVE) === 0) addRange(found, window.start + i * PAGE_SIZE, PAGE_SIZE);
      }
    }
  }
  return found;
}

/**
 * The pages of `ranges` that have the same frame in both tasks; undefined if the kernel hides frame numbers from us
 * (reading them takes CAP_SYS_ADMIN). Both tasks are stopped, but the kernel may move a page and use its frame for
 * another one. So the words of the other task are read twice, before and after those of the first.
 * @throws SyscallError
 */
export function commonFrames(pid: HostPid, other: HostPid, ranges: readonly PageRange[]): PageRange[] | undefined {
  using mine = openPagemap(pid);
  using theirs = openPagemap(other);
  const found: PageRange[] = [];
  for (const window of windowsOf(ranges)) {
    read(theirs, window, before);
    read(mine, window, words);
    read(theirs, window, after);
    for (const { start, length } of window.ranges) {
      const first = (start - window.start) / PAGE_SIZE;
      for (let i = first; i < first + length / PAGE_SIZE; i++) {
        const low = words[2 * i] as number; // within the window
        const high = words[2 * i + 1] as number;
        if (low === 0 && (high & FRAME) === 0 && high >>> 31 === 1) return undefined;
        if ((high & EXCLUSIVE) !== 0 || high >>> 30 === 0) continue;
        if (same(before, i, low, high) && same(after, i, low, high))
          addRange(found, window.start + i * PAGE_SIZE, PAGE_SIZE);
      }
    }
  }
  return found;
}

function same(others: Words, page: number, low: number, high: number): boolean {
  return others[2 * page] === low && (((others[2 * page + 1] as number) ^ high) & ~SOFT_DIRTY) === 0;
}

function openPagemap(pid: HostPid): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath(`/proc/${pid}/pagemap`), O.RDONLY | O.CLOEXEC));
}

/** Ranges close to each other, read in one call. */
interface Window extends PageRange {
  readonly ranges: readonly PageRange[];
}

function* windowsOf(ranges: readonly PageRange[]): Generator<Window> {
  let gathered: PageRange[] = [];
  for (const range of pieces(ranges)) {
    const [first] = gathered;
    const last = gathered[gathered.length - 1];
    if (first && (range.start - endOf(last) > GAP * PAGE_SIZE || endOf(range) - first.start > WINDOW * PAGE_SIZE)) {
      yield { start: first.start, length: endOf(last) - first.start, ranges: gathered };
      gathered = [];
    }
    gathered.push(range);
  }
  const [first] = gathered;
  if (first) {
    yield { start: first.start, length: endOf(gathered[gathered.length - 1]) - first.start, ranges: gathered };
  }
}

function* pieces(ranges: readonly PageRange[]): Generator<PageRange> {
  for (const { start, length } of ranges) {
    for (let done = 0; done < length; done += WINDOW * PAGE_SIZE) {
      yield { start: start + done, length: Math.min(WINDOW * PAGE_SIZE, length - done) };
    }
  }
}

function read(pagemap: Fd, { start, length }: PageRange, into: Words): void {
  const bytes = (length / PAGE_SIZE) * 8;
  const got = trySyscall('pread64', pagemap.number, into, bytes, (start / PAGE_SIZE) * 8);
  if (got === 0) throw new StasisError({ kind: 'gone', reason: 'a task was killed while Stasis saved it' });
  if (got !== bytes) throw new SyscallError('pread64', got < 0 ? -got : 5, { resource: 'pagemap' });
}
