/**
 * File constants (include/uapi/asm-generic/fcntl.h, linux/fcntl.h, linux/stat.h, linux/memfd.h …).
 * What differs between architectures comes from arch/.
 */
import { O } from '../../arch/numbers.ts';
import { iow } from './ioctl.ts';

export { O };

export const F = {
  DUPFD: 0,
  GETFD: 1,
  SETFD: 2,
  GETFL: 3,
  SETFL: 4,
  GETLK: 5,
  SETLK: 6,
  SETLKW: 7,
  SETOWN: 8,
  GETOWN: 9,
  SETSIG: 10,
  GETSIG: 11,
  SETOWN_EX: 15,
  GETOWN_EX: 16,
  GETOWNER_UIDS: 17,
  OFD_GETLK: 36,
  OFD_SETLK: 37,
  OFD_SETLKW: 38,
  SETLEASE: 1024,
  GETLEASE: 1025,
  NOTIFY: 1026,
  DUPFD_QUERY: 1027,
  DUPFD_CLOEXEC: 1030,
  SETPIPE_SZ: 1031,
  GETPIPE_SZ: 1032,
  ADD_SEALS: 1033,
  GET_SEALS: 1034,
  GET_RW_HINT: 1035,
  SET_RW_HINT: 1036,
  GET_FILE_RW_HINT: 1037,
  SET_FILE_RW_HINT: 1038,
} as const;

export const FD_CLOEXEC = 1;
export const F_LCK = { RDLCK: 0, WRLCK: 1, UNLCK: 2 } as const;
export const F_OWNER = { TID: 0, PID: 1, PGRP: 2 } as const;
export const F_SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16, EXEC: 32 } as const;
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8, MAND: 32, READ: 64, WRITE: 128, RW: 192 } as const;
export const SEEK = { SET: 0, CUR: 1, END: 2, DATA: 3, HOLE: 4 } as const;

/** Flags of the `*at` calls; the auxiliary vector's are `AUX`. */
export const AT = {
  FDCWD: -100,
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  NO_AUTOMOUNT: 0x800,
  EMPTY_PATH: 0x1000,
  RECURSIVE: 0x8000,
} as const;

export const S_IF = {
  MT: 0o170000,
  SOCK: 0o140000,
  LNK: 0o120000,
  REG: 0o100000,
  BLK: 0o060000,
  DIR: 0o040000,
  CHR: 0o020000,
  IFO: 0o010000,
} as const;

export const STATX = {
  TYPE: 0x0001,
  MODE: 0x0002,
  NLINK: 0x0004,
  UID: 0x0008,
  GID: 0x0010,
  ATIME: 0x0020,
  MTIME: 0x0040,
  CTIME: 0x0080,
  INO: 0x0100,
  SIZE: 0x0200,
  BLOCKS: 0x0400,
  BASIC_STATS: 0x07ff,
  BTIME: 0x0800,
  /** Since 5.8. */
  MNT_ID: 0x1000,
  DIOALIGN: 0x2000,
  /** Since 6.8; the same field of the struct. */
  MNT_ID_UNIQUE: 0x4000,
} as const;

export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
export const FALLOC_FL = { KEEP_SIZE: 1, PUNCH_HOLE: 2, COLLAPSE_RANGE: 8, ZERO_RANGE: 16 } as const;
export const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4, NOEXEC_SEAL: 8, EXEC: 16, HUGE_SHIFT: 26 } as const;
export const EFD = { SEMAPHORE: 1, NONBLOCK: O.NONBLOCK, CLOEXEC: O.CLOEXEC } as const;
export const TFD = { NONBLOCK: O.NONBLOCK, CLOEXEC: O.CLOEXEC, TIMER_ABSTIME: 1, TIMER_CANCEL_ON_SET: 2 } as const;
export const EPOLL_CTL = { ADD: 1, DEL: 2, MOD: 3 } as const;
/** Events of poll(2). */
export const POLL = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 16, RDHUP: 0x2000 } as const;
export const SPLICE_F = { MOVE: 1, NONBLOCK: 2, MORE: 4, GIFT: 8 } as const;

/** Sets the tick count of a timerfd. */
export const TFD_IOC_SET_TICKS = iow('T', 0, 8);
/** Sets the next watch descriptor of an inotify instance. */
export const INOTIFY_IOC_SETNEXTWD = iow('I', 0, 4);

/** Modes of faccessat(2). */
export const ACCESS = { F_OK: 0, X_OK: 1, W_OK: 2, R_OK: 4 } as const;

/** What inotify_add_watch(2) takes besides single events. */
export const IN = { ALL_EVENTS: 0xfff, EXCL_UNLINK: 0x0400_0000, ONESHOT: 0x8000_0000 } as const;
/** Flags of fanotify_mark(2). */
export const FAN = { MARK_ADD: 0x1, MARK_MOUNT: 0x10, MARK_IGNORED_MASK: 0x20 } as const;

/** Types of file systems, as statfs(2) tells them. */
export const FS_MAGIC = {
  PROC_SUPER_MAGIC: 0x9fa0,
  DEVPTS_SUPER_MAGIC: 0x1cd1,
  OVERLAYFS_SUPER_MAGIC: 0x794c7630,
  HUGETLBFS_MAGIC: 0x958458f6,
  SECRETMEM_MAGIC: 0x5345434d,
  MQUEUE_MAGIC: 0x19800202,
} as const;

/** Major number of /dev/mem, null, zero, random and others. */
export const MEM_MAJOR = 1;

export const KCMP = { FILE: 0, VM: 1, FILES: 2, FS: 3, SIGHAND: 4, IO: 5, SYSVSEM: 6, EPOLL_TFD: 7 } as const;

/** `pidfd_open` flags. */
export const PIDFD = { NONBLOCK: O.NONBLOCK, THREAD: O.EXCL } as const;

/** `mnt_id_req` masks of statmount, and the special id of listmount; since 6.8. */
export const STATMOUNT = {
  SB_BASIC: 0x01,
  MNT_BASIC: 0x02,
  PROPAGATE_FROM: 0x04,
  MNT_ROOT: 0x08,
  MNT_POINT: 0x10,
  FS_TYPE: 0x20,
  MNT_NS_ID: 0x40,
  MNT_OPTS: 0x80,
  MNT_UIDMAP: 0x2000,
  MNT_GIDMAP: 0x4000,
} as const;
