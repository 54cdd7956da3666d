/** Sockets that nobody can reach any more, since only messages that nobody can receive carry them. */
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { nap } from '../../../kernel/nap.ts';
import { unixSocketWith } from '../../../kernel/netlink/unix-diag.ts';
import { socketPair } from '../../../kernel/sockets.ts';

/** How long the kernel is waited for, in steps of a millisecond. */
const PATIENCE = 20;

/**
 * Has the kernel close such sockets, and waits a little until one is gone that may be among them. The kernel looks for
 * them whenever a socket is closed while some wait in messages (`unix_schedule_gc()` in net/unix/garbage.c), so it
 * would happen at some moment of a dump anyway.
 */
export function collectGarbage(ino: number): void {
  for (const end of socketPair(AF.UNIX, SOCK.DGRAM)) end[Symbol.dispose]();
  for (let left = PATIENCE; left > 0 && isThere(ino); left--) nap(1_000_000);
}

/** Whether the socket is open. One that is closed, and another one is connected with, is listed without a number. */
function isThere(ino: number): boolean {
  return unixSocketWith(ino) !== undefined;
}
