/** Waiting for a moment. */
import type { Nanoseconds } from '../base/brands.ts';
import { arenaAddress, arenaView, trySyscall } from './syscall.ts';

/** Sleeps for less than a second, or until a signal comes. */
export function nap(nanoseconds: Nanoseconds): void {
  arenaView.setBigInt64(0, 0n, true);
  arenaView.setBigInt64(8, BigInt(nanoseconds), true);
  trySyscall('nanosleep', arenaAddress, 0);
}
