/** `struct statx` (include/uapi/linux/stat.h), which is the same on all architectures, unlike `struct stat`. */
import { AT, STATX } from '../constants/files.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, SyscallError, trySyscall } from '../syscall.ts';

/** What is known of a file. Device numbers are in the kernel's form: major << 20 | minor. */
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
  /** Blocks of 512 bytes in use. */
  readonly blocks: number;
  /** Nanoseconds since the epoch. */
  readonly atime: bigint;
  readonly mtime: bigint;
  /** Mount the file was reached through; 0 before Linux 5.8. */
  readonly mntId: number;
}

const MASK = STATX.BASIC_STATS | STATX.MNT_ID;
/** Where the struct stands in the arena; a path may come before it. */
const AT_BYTE = 8192;

/** The file behind a descriptor of ours. @throws SyscallError */
export function statusOf(local: number): FileStatus {
  const status = statx(local, '', AT.EMPTY_PATH);
  if (typeof status === 'number') throw new SyscallError('statx', -status, { resource: `descriptor ${local}` });
  return status;
}

/**
 * The file at a path, a symbolic link itself where there is one; undefined if there is none.
 * @throws SyscallError for other reasons
 */
export function statusAt(path: string): FileStatus | undefined {
  const status = statx(AT.FDCWD, path, AT.SYMLINK_NOFOLLOW | AT.NO_AUTOMOUNT);
  if (typeof status !== 'number') return status;
  if (status === -ERRNO.ENOENT || status === -ERRNO.ENOTDIR) return undefined;
  throw new SyscallError('statx', -status, { resource: path });
}

function statx(dirfd: number, path: string, flags: number): FileStatus | number {
  const result = trySyscall('statx', dirfd, arenaPath(path), flags, MASK, arenaAddress + AT_BYTE);
  return result < 0 ? result : decode(AT_BYTE);
}

function decode(at: number): FileStatus {
  const u32 = (offset: number): number => arenaView.getUint32(at + offset, true);
  const u64 = (offset: number): number => Number(arenaView.getBigUint64(at + offset, true));
  const device = (offset: number): number => ((u32(offset) << 20) | u32(offset + 4)) >>> 0;
  const time = (offset: number): bigint =>
    arenaView.getBigInt64(at + offset, true) * 1_000_000_000n + BigInt(u32(offset + 8));
  return {
    nlink: u32(16),
    uid: u32(20),
    gid: u32(24),
    mode: arenaView.getUint16(at + 28, true),
    ino: u64(32),
    size: u64(40),
    blocks: u64(48),
    atime: time(64),
    mtime: time(112),
    rdev: device(128),
    dev: device(136),
    mntId: (u32(0) & STATX.MNT_ID) !== 0 ? u64(144) : 0,
  };
}
