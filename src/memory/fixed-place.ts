/**
 * Maps files whose place the kernel chooses: rings of io_uring refuse an address, also from mremap(2)
 * (io_uring_get_unmapped_area() in io_uring/memmap.c). All that is free in the address space is occupied for the
 * moment, so that each ring has only one place to go to.
 */
import { USER_END } from '../arch/numbers.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { PageRange, RestoreTask } from '../contract/contract.ts';
import { FdTypes } from '../images/schema/files.ts';
import type { VmaEntry } from '../images/schema/memory.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import { isFile, type Mapping } from './space.ts';

/** Whether it maps a file that cannot be mapped at a chosen address. */
export function isPlacedByKernel(entry: VmaEntry, { context }: RestoreTask): boolean {
  return isFile(entry) && context.fileEntries.get(Number(entry.shmid))?.type === FdTypes.EXT;
}

/** A file to be mapped, and the task's descriptor for it. */
export interface ToPlace {
  readonly mapping: Mapping;
  readonly fd: number;
}

/** Makes mappings of such files, when all others are made. @throws RemoteCallError */
export function placeMappings(task: RestoreTask, wanted: readonly ToPlace[]): void {
  if (wanted.length === 0) return;
  task.batch.flush();
  const gaps = gapsIn(task);
  for (const { start, length } of gaps) {
    const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE | MAP.FIXED_NOREPLACE;
    task.batch.call('mmap', start, length, PROT.NONE, flags, -1, 0);
  }
  for (const { mapping, fd } of wanted) {
    const { start, length, entry } = mapping;
    const program = task.batch.reserve(3);
    program.call('munmap', start, length);
    const placed = program.call('mmap', 0, length, entry.prot, MAP.SHARED, fd, Number(entry.pgoff));
    program.expect(placed, start);
  }
  const kept = wanted.map(({ mapping }) => mapping).sort((a, b) => a.start - b.start);
  for (const gap of gaps) for (const { start, length } of around(gap, kept)) task.batch.call('munmap', start, length);
}

/** The free parts of an address space, in ascending order. */
function gapsIn({ tracee }: RestoreTask): PageRange[] {
  const gaps: PageRange[] = [];
  let at = LOWEST;
  for (const { start, end, name } of parseSmaps(readProc(tracee.pid, 'maps'))) {
    if (name === '[vsyscall]') continue;
    if (start > at) gaps.push({ start: at, length: start - at });
    at = Math.max(at, end);
  }
  if (at < HIGHEST) gaps.push({ start: at, length: HIGHEST - at });
  return gaps;
}

/** vm.mmap_min_addr is at most this, and the kernel chooses no lower place. */
const LOWEST = 0x10000;
/** The end of the addresses that the kernel chooses without a hint. */
const HIGHEST = Number(USER_END) - PAGE_SIZE;

/** A gap without the mappings that were made in it. */
function around({ start, length }: PageRange, made: readonly PageRange[]): PageRange[] {
  const parts: PageRange[] = [];
  let at = start;
  for (const mapping of made) {
    if (mapping.start < start || mapping.start >= start + length) continue;
    if (mapping.start > at) parts.push({ start: at, length: mapping.start - at });
    at = mapping.start + mapping.length;
  }
  if (at < start + length) parts.push({ start: at, length: start + length - at });
  return parts;
}
