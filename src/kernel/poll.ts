/** poll(2) with nothing asked for: what the kernel reports of a file in any case. */
import type { LocalFd } from '../base/brands.ts';
import { arenaAddress, arenaView, syscall } from './syscall.ts';

/**
 * Whether a file is hung up (POLL.HUP) or has an error (POLL.ERR): the bits of both. Nothing is taken by asking, where
 * SO_ERROR, for one, would clear the error it tells.
 */
export function hangUpsAndErrors(local: LocalFd): number {
  arenaView.setInt32(0, local, true);
  arenaView.setInt32(4, 0, true);
  syscall('poll', arenaAddress, 1, 0);
  return arenaView.getInt16(6, true);
}
