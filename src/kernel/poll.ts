/** poll(2). Nothing is taken by asking, where SO_ERROR, for one, would clear the error it tells. */
import type { LocalFd } from '../base/brands.ts';
import { arenaAddress, arenaView, ERRNO, SyscallError, trySyscall } from './syscall.ts';

/** Whether a file is hung up (POLL.HUP) or has an error (POLL.ERR), which is reported in any case: the bits of both. */
export function hangUpsAndErrors(local: LocalFd): number {
  return eventsOf(local, 0);
}

/** Which of the `events` are there now, and {@link hangUpsAndErrors}: bits of {@link POLL}. @throws SyscallError */
export function eventsOf(local: LocalFd, events: number): number {
  for (;;) {
    arenaView.setInt32(0, local, true);
    arenaView.setInt32(4, events, true);
    const result = trySyscall('poll', arenaAddress, 1, 0);
    if (result >= 0) return arenaView.getInt16(6, true);
    // A signal that comes meanwhile interrupts even a call that waits for nothing.
    if (result !== -ERRNO.EINTR) throw new SyscallError('poll', -result);
  }
}

/**
 * Waits at most so many milliseconds, -1 for ever, until one of the `events` is there, a hang-up or an error. Returns
 * false if none has come in time; true also when a signal has ended the wait. @throws SyscallError
 */
export function waitFor(local: LocalFd, events: number, milliseconds: number): boolean {
  arenaView.setInt32(0, local, true);
  arenaView.setInt32(4, events, true);
  const result = trySyscall('poll', arenaAddress, 1, milliseconds);
  if (result < 0 && result !== -ERRNO.EINTR) throw new SyscallError('poll', -result);
  return result !== 0;
}
