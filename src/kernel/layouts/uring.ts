/** io_uring (include/uapi/linux/io_uring.h). */

import { array, i32, struct, u8, u16, u32, u64 } from './struct.ts';

/** `struct io_sqring_offsets`: where the counters of the submission queue are in its mapping. */
export const SqOffsets = struct({
  head: u32,
  tail: u32,
  ringMask: u32,
  ringEntries: u32,
  flags: u32,
  dropped: u32,
  array: u32,
  reserved: u32,
  userAddress: u64,
});

/** `struct io_cqring_offsets`. */
export const CqOffsets = struct({
  head: u32,
  tail: u32,
  ringMask: u32,
  ringEntries: u32,
  overflow: u32,
  cqes: u32,
  flags: u32,
  reserved: u32,
  userAddress: u64,
});

/** `struct io_uring_params`. */
export const UringParams = struct({
  sqEntries: u32,
  cqEntries: u32,
  flags: u32,
  sqThreadCpu: u32,
  sqThreadIdle: u32,
  features: u32,
  wqFd: u32,
  reserved: array(u32, 3),
  sqOffsets: SqOffsets,
  cqOffsets: CqOffsets,
});

/** `struct io_uring_sqe`, the first 64 bytes, of which the rest depends on the operation. */
export const Sqe = struct({
  opcode: u8,
  flags: u8,
  priority: u16,
  fd: i32,
  offset: u64,
  address: u64,
  length: u32,
  opFlags: u32,
  userData: u64,
  rest: array(u64, 3),
});
