/**
 * Segments are files on the kernel's internal tmpfs and hugetlbfs mounts: memfds, shared anonymous mappings and System
 * V shared memory. Images identify them by their inode number (`shmid`), and their contents have a pagemap of their
 * own.
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import type { LocalFd } from '../base/brands.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { AT, FS_MAGIC, MFD, O, S_IF } from '../kernel/constants/files.ts';
import { MAP, PROT } from '../kernel/constants/memory.ts';
import { dataRanges } from '../kernel/data-ranges.ts';
import { statusOf } from '../kernel/statx.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { fillMapping, pageRanges } from '../support/segment-content.ts';

/** The devices of the internal file systems, by page size: 0 for the tmpfs, the size in bytes for a hugetlbfs. */
const devices = new Map<number, number | undefined>();

/** The device of an internal file system, found by making a file there; undefined where the kernel has none. */
function internalDevice(pageSize: number): number | undefined {
  if (!devices.has(pageSize)) {
    const fd = trySyscall('memfd_create', arenaPath(''), MFD.CLOEXEC | hugeFlag(pageSize));
    if (fd < 0) devices.set(pageSize, undefined);
    else {
      using probe = new Fd(fd);
      devices.set(pageSize, statusOf(probe.number).dev);
    }
  }
  return devices.get(pageSize);
}

/** The flags of memfd_create(2) for pages of this size; 0 for ordinary pages. */
function hugeFlag(pageSize: number): number {
  return pageSize === 0 ? 0 : (MFD.HUGETLB | (Math.log2(pageSize) << MFD.HUGE_SHIFT)) >>> 0;
}

/**
 * For a segment the flags of memfd_create(2) for its page size, 0 for ordinary pages; undefined for all other files.
 */
export function segmentFlag(file: OpenFile): number | undefined {
  const { mode, nlink, dev } = file.stat;
  // Segments never had a link, and are on a device with major number 0.
  if (nlink !== 0 || (mode & S_IF.MT) !== S_IF.REG || dev >>> 20 !== 0) return undefined;
  if (dev === internalDevice(0)) return 0;
  if (trySyscall('fstatfs', file.local, arenaAddress) < 0) return undefined;
  if (arenaView.getUint32(0, true) !== FS_MAGIC.HUGETLBFS_MAGIC) return undefined;
  const pageSize = Number(arenaView.getBigInt64(8, true));
  return dev === internalDevice(pageSize) ? hugeFlag(pageSize) : undefined;
}

/** IDs (`shmid`) of the segments saved so far. */
const SAVED = new Slot((_: DumpContext) => new Set<number>());

/**
 * Saves the content of a segment, once. `local` must be readable and an open file description of our own, since its
 * position changes.
 * @throws StasisError
 */
export function captureSegment(local: LocalFd, shmid: number, size: number, context: DumpContext): void {
  const done = SAVED.of(context);
  if (done.has(shmid) || size === 0) return;
  done.add(shmid);
  context.pages.storeSegment(shmid, local, pageRanges(dataRanges(local, size)));
}

/**
 * Makes a segment with the contents stored in the images. With a `name` it is a memfd; with undefined it is the kind
 * that mmap(MAP_SHARED | MAP_ANONYMOUS) makes, which is shown as `/dev/zero (deleted)`. Returns a descriptor open for
 * reading and writing.
 * @throws StasisError
 */
export function makeSegment(
  name: string | undefined,
  flags: number,
  shmid: number,
  size: number,
  context: RestoreContext,
): LocalFd {
  using fd = new Fd(name === undefined ? anonymous(size) : memfd(name, flags));
  if (size > 0) {
    if (name !== undefined) resize(fd.number, size);
    fill(fd.number, shmid, size, context);
  }
  return fd.release();
}

/**
 * Makes a memfd. MFD_EXEC is given unless it was made with MFD_NOEXEC_SEAL, since vm.memfd_noexec decides for calls
 * without either flag (since 6.3).
 */
function memfd(name: string, flags: number): number {
  const explicit = (flags & MFD.NOEXEC_SEAL) === 0 ? flags | MFD.EXEC : flags;
  const fd = trySyscall('memfd_create', arenaPath(name), explicit | MFD.CLOEXEC);
  if (fd !== -ERRNO.EINVAL && fd !== -ERRNO.EACCES) return checked('memfd_create', fd, name);
  return checked('memfd_create', trySyscall('memfd_create', arenaPath(name), flags | MFD.CLOEXEC), name);
}

/**
 * Makes an anonymous shared mapping, since nothing else makes such a file, and opens it through /proc/self/map_files.
 */
function anonymous(size: number): number {
  const length = Math.max(Math.ceil(size / PAGE_SIZE) * PAGE_SIZE, PAGE_SIZE);
  const at = syscall('mmap', 0, length, PROT.READ | PROT.WRITE, MAP.SHARED | MAP.ANONYMOUS | MAP.NORESERVE, -1, 0);
  try {
    const path = `/proc/self/map_files/${at.toString(16)}-${(at + length).toString(16)}`;
    return checked('openat', trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDWR | O.CLOEXEC), path);
  } finally {
    syscall('munmap', at, length);
  }
}

function checked(call: 'memfd_create' | 'openat', result: number, resource: string): number {
  if (result < 0) throw new SyscallError(call, -result, { resource });
  return result;
}

function resize(fd: number, size: number): void {
  const result = trySyscall('ftruncate', fd, size);
  if (result < 0) throw new SyscallError('ftruncate', -result, { resource: `a segment of ${size} bytes` });
}

/** Maps a segment and fills in its contents. */
function fill(fd: number, shmid: number, size: number, context: RestoreContext): void {
  const length = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
  const at = syscall('mmap', 0, length, PROT.READ | PROT.WRITE, MAP.SHARED, fd, 0);
  try {
    fillMapping(at, shmid, length, context);
  } finally {
    syscall('munmap', at, length);
  }
}
