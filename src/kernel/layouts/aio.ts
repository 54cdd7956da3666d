/** Asynchronous I/O (include/uapi/linux/aio_abi.h, fs/aio.c). */
import { i64, struct, u16, u32, u64 } from './struct.ts';

/** `struct aio_ring`, the header of a context's ring; events follow. The kernel writes `tail`, the program `head`. */
export const AioRing = struct({
  id: u32,
  nr: u32,
  head: u32,
  tail: u32,
  magic: u32,
  compatFeatures: u32,
  incompatFeatures: u32,
  headerLength: u32,
});

/** `struct io_event`. */
export const IoEvent = struct({ data: u64, request: u64, result: i64, result2: i64 });

/** `struct iocb`. */
export const Iocb = struct({
  data: u64,
  key: u32,
  rwFlags: u32,
  opcode: u16,
  priority: u16,
  fd: u32,
  buffer: u64,
  length: u64,
  offset: i64,
  reserved: u64,
  flags: u32,
  eventfd: u32,
});
