/** The ring of an AIO context (struct aio_ring in fs/aio.c) and the numbers that follow from its size. Pure. */
import { i64, struct, u16, u32, u64 } from '../../../kernel/layouts/struct.ts';

/** The header of the ring; events follow. The kernel writes `tail`, the program may move `head`. */
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
export const EVENT_SIZE = 32;
const MAGIC = 0xa10a10a1;

/**
 * The number of requests to pass to io_setup(2) for a ring of `length` bytes: the kernel doubles the number, adds two
 * and fills up the page.
 */
export function requestsOf(length: number): number {
  return Math.floor((eventsOf(length) - 2) / 2);
}

/** The number of events in a ring of `length` bytes. */
export function eventsOf(length: number): number {
  return Math.floor((length - AioRing.size) / EVENT_SIZE);
}

/** Whether the bytes begin with the header of a ring of `length` bytes. */
export function isRing(bytes: Uint8Array, length: number): boolean {
  const ring = AioRing.decode(bytes);
  const sound = ring.magic === MAGIC && ring.headerLength === AioRing.size && ring.nr === eventsOf(length);
  return sound && ring.head < ring.nr && ring.tail < ring.nr;
}

/**
 * How many events have to be completed in a new ring for its tail to reach the saved position. If the tail has wrapped
 * around and the head has not, one full turn more is needed, or the kernel miscounts the events between them.
 */
export function completions(head: number, tail: number, nr: number): number {
  return tail < head ? nr + tail : tail;
}

/** `struct iocb` (include/uapi/linux/aio_abi.h). */
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

/** IOCB_CMD_PWRITE. */
export const PWRITE = 1;
