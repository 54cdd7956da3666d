/** Queries that do not change a socket. */
import type { LocalFd } from '../../../base/brands.ts';
import { POLL } from '../../../kernel/constants/files.ts';
import { MSG, SOCK } from '../../../kernel/constants/sockets.ts';
import { hangUpsAndErrors } from '../../../kernel/poll.ts';
import { arenaAddress, trySyscall } from '../../../kernel/syscall.ts';

/** Whether an error is pending. SO_ERROR would tell which one, but also clear it. */
export function hasError(local: LocalFd): boolean {
  return (hangUpsAndErrors(local) & POLL.ERR) !== 0;
}

/** Whether an out-of-band byte is unread (MSG_OOB, for streams since Linux 5.15). */
export function hasOutOfBand(local: LocalFd, type: number): boolean {
  if (type !== SOCK.STREAM) return false;
  return trySyscall('recvfrom', local, arenaAddress, 1, MSG.OOB | MSG.PEEK | MSG.DONTWAIT, 0, 0) > 0;
}
