/**
 * File status by statx(2), whose struct is the same on all architectures. The struct is read field by field, for speed:
 * a dump calls this for every open file.
 */
import type { LocalFd } from '../base/brands.ts';
import { AT, STATX } from './constants/files.ts';
import { Statx } from './layouts/files.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, SyscallError, trySyscall } from './syscall.ts';

/** The status of a file. Device numbers are in the kernel's form: major << 20 | minor. */
export interface FileStatus {
  readonly dev: number;
  readonly ino: number;
  /** Type and permission bits. */
  readonly mode: number;
  readonly nlink: number;
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** Number of 512-byte blocks allocated. */
  readonly blocks: number;
  /** Mount the file was reached through; 0 before Linux 5.8. */
  readonly mntId: number;
}

/** Seconds since the epoch, and nanoseconds. */
export interface FileTime {
  readonly sec: bigint;
  readonly nsec: number;
}

const MASK = STATX.BASIC_STATS | STATX.MNT_ID;
/** Offset of the struct in the arena; a path may stand before it. */
const AT_BYTE = 8192;

/** The file behind a descriptor of ours. @throws SyscallError */
export function statusOf(local: LocalFd): FileStatus {
  const status = statx(local, '', AT.EMPTY_PATH);
  if (typeof status === 'number') throw new SyscallError('statx', -status, { resource: `descriptor ${local}` });
  return status;
}

/**
 * The file at a path, a symbolic link itself where there is one; undefined if there is none.
 * @throws SyscallError for other reasons
 */
export function statusAt(path: string): FileStatus | undefined {
  return there(path, statx(AT.FDCWD, path, AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT));
}

/** As {@link statusAt}, of what a symbolic link leads to. */
export function followedStatus(path: string): FileStatus | undefined {
  return there(path, statx(AT.FDCWD, path, 0));
}

/** As {@link followedStatus}; undefined whatever the reason. */
export function tryFollowedStatus(path: string): FileStatus | undefined {
  const status = statx(AT.FDCWD, path, 0);
  return typeof status === 'number' ? undefined : status;
}

function there(path: string, status: FileStatus | number): FileStatus | undefined {
  if (typeof status !== 'number') return status;
  if (status === -ERRNO.ENOENT || status === -ERRNO.ENOTDIR) return undefined;
  throw new SyscallError('statx', -status, { resource: path });
}

/** When the file behind a descriptor of ours was read and written last. @throws SyscallError */
export function timesOf(local: LocalFd): { atime: FileTime; mtime: FileTime } {
  statusOf(local);
  return { atime: timeAt(Statx.offsets.atime), mtime: timeAt(Statx.offsets.mtime) };
}

/**
 * When the file that a path leads to was made, and its size; undefined if there is none, or its file system does not
 * tell.
 */
export function birthOf(path: string): { readonly btime: FileTime; readonly size: number } | undefined {
  const asked = trySyscall('statx', AT.FDCWD, arenaPath(path), 0, MASK | STATX.BTIME, arenaAddress + AT_BYTE);
  const { offsets } = Statx;
  if (asked < 0 || (arenaView.getUint32(AT_BYTE + offsets.mask, true) & STATX.BTIME) === 0) return undefined;
  return { btime: timeAt(offsets.btime), size: decode(AT_BYTE).size };
}

function timeAt(offset: number): FileTime {
  return {
    sec: arenaView.getBigInt64(AT_BYTE + offset, true),
    nsec: arenaView.getUint32(AT_BYTE + offset + 8, true),
  };
}

function statx(dirfd: number, path: string, flags: number): FileStatus | number {
  const result = trySyscall('statx', dirfd, arenaPath(path), flags, MASK, arenaAddress + AT_BYTE);
  return result < 0 ? result : decode(AT_BYTE);
}

function decode(at: number): FileStatus {
  const { offsets } = Statx;
  const u32 = (offset: number): number => arenaView.getUint32(at + offset, true);
  const u64 = (offset: number): number => Number(arenaView.getBigUint64(at + offset, true));
  const device = (offset: number): number => ((u32(offset) << 20) | u32(offset + 4)) >>> 0;
  return {
    nlink: u32(offsets.nlink),
    uid: u32(offsets.uid),
    gid: u32(offsets.gid),
    mode: arenaView.getUint16(at + offsets.mode, true),
    ino: u64(offsets.ino),
    size: u64(offsets.size),
    blocks: u64(offsets.blocks),
    rdev: device(offsets.rdevMajor),
    dev: device(offsets.devMajor),
    mntId: (u32(offsets.mask) & STATX.MNT_ID) !== 0 ? u64(offsets.mntId) : 0,
  };
}
