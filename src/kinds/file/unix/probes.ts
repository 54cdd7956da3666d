/** Questions a socket answers without being changed. */
import type { LocalFd } from '../../../base/brands.ts';
import { MSG, SOCK } from '../../../kernel/constants/sockets.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from '../../../kernel/syscall.ts';

const POLLERR = 8;

/** Whether an error waits; SO_ERROR would tell which, but take it away. */
export function hasError(local: LocalFd): boolean {
  arenaView.setInt32(0, local, true);
  arenaView.setInt32(4, 0, true); // no events asked for: errors are told anyway
  syscall('poll', arenaAddress, 1, 0);
  return (arenaView.getInt16(6, true) & POLLERR) !== 0;
}

/** Whether an out-of-band byte waits (MSG_OOB, since Linux 5.15 of streams). */
export function hasOutOfBand(local: LocalFd, type: number): boolean {
  if (type !== SOCK.STREAM) return false;
  return trySyscall('recvfrom', local, arenaAddress, 1, MSG.OOB | MSG.PEEK | MSG.DONTWAIT, 0, 0) > 0;
}
