/** The ring of an AIO context (struct aio_ring in fs/aio.c) and the numbers that follow from its size. Pure. */
import { AIO_RING_MAGIC } from '../../../kernel/constants/memory.ts';
import { AioRing, IoEvent } from '../../../kernel/layouts/aio.ts';

/**
 * The number of requests to pass to io_setup(2) for a ring of `length` bytes: the kernel doubles the number, adds two
 * and fills up the page.
 */
export function requestsOf(length: number): number {
  return Math.floor((eventsOf(length) - 2) / 2);
}

/** The number of events in a ring of `length` bytes. */
export function eventsOf(length: number): number {
  return Math.floor((length - AioRing.size) / IoEvent.size);
}

/** Whether the bytes begin with the header of a ring of `length` bytes. */
export function isRing(bytes: Uint8Array, length: number): boolean {
  const ring = AioRing.decode(bytes);
  const sound = ring.magic === AIO_RING_MAGIC && ring.headerLength === AioRing.size && ring.nr === eventsOf(length);
  return sound && ring.head < ring.nr && ring.tail < ring.nr;
}

/**
 * How many events have to be completed in a new ring for its tail to reach the saved position. If the tail has wrapped
 * around and the head has not, one full turn more is needed, or the kernel miscounts the events between them.
 */
export function completions(head: number, tail: number, nr: number): number {
  return tail < head ? nr + tail : tail;
}
