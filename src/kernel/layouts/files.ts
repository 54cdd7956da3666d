/** Files (include/uapi/linux/stat.h, fcntl.h, eventpoll.h). */

import { EPOLL_EVENT_PACKED } from '../../arch/numbers.ts';
import { i16, i32, i64, struct, u16, u32, u64, type ValueOf } from './struct.ts';

/** `struct statx_timestamp`. */
export const StatxTime = struct({ sec: i64, nsec: u32, reserved: i32 });

/** `struct statx` up to `stx_dio_offset_align`; the kernel writes 256 bytes, {@link STATX_SIZE}. */
export const Statx = struct({
  mask: u32,
  blockSize: u32,
  attributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  spare: u16,
  ino: u64,
  size: u64,
  blocks: u64,
  attributesMask: u64,
  atime: StatxTime,
  btime: StatxTime,
  ctime: StatxTime,
  mtime: StatxTime,
  rdevMajor: u32,
  rdevMinor: u32,
  devMajor: u32,
  devMinor: u32,
  /** The id of mountinfo, or the unique one when STATX_MNT_ID_UNIQUE is set in `mask`. */
  mntId: u64,
  dioMemAlign: u32,
  dioOffsetAlign: u32,
});
export type Statx = ValueOf<typeof Statx>;

/** Room statx needs. */
export const STATX_SIZE = 256;

/** `struct f_owner_ex`, of F_GETOWN_EX and F_SETOWN_EX. */
export const FOwnerEx = struct({ type: i32, pid: i32 });

/** `struct flock` of 64-bit architectures, of F_SETLK and F_OFD_SETLK (whose `pid` is to be 0). */
export const Flock = struct({ type: i16, whence: i16, start: i64, length: i64, pid: i32 });
export type Flock = ValueOf<typeof Flock>;

/** `struct epoll_event`. */
export const EpollEvent = struct({ events: u32, data: u64 }, { packed: EPOLL_EVENT_PACKED });

/** `struct pollfd`, of poll(2). */
export const Pollfd = struct({ fd: i32, events: i16, revents: i16 });
