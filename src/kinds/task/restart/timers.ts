/** Finds out which of several timers belonged to a sleeping task. Pure. */
import { firstIndex } from '../../../base/search.ts';

/** Longest time in nanoseconds between setting a timer and leaving the CPU, on a machine that is not too busy. */
const SOON = 2_000_000n;

/**
 * The remaining time of the task's own timer. `gone` holds the remaining times, ascending, of timers that were removed
 * at the freeze; other tasks may have been woken early in that moment as well. `expected` is the time the task should
 * have left; it is undefined if not even that is known, in which case the list must hold no other task's timer.
 * Undefined if the timer cannot be identified.
 */
export function ownTimer(gone: readonly bigint[], expected: bigint | undefined): bigint | undefined {
  if (expected === undefined) return gone.length === 1 ? gone[0] : undefined;
  // A binary search, since each of a thousand threads may search a thousand timers. The index is below the length.
  const first = firstIndex(gone.length, (index) => (gone[index] as bigint) < expected - SOON);
  const [near, next] = [gone[first], gone[first + 1]];
  const isNear = (left: bigint | undefined): boolean => left !== undefined && left <= expected + SOON;
  return isNear(near) && !isNear(next) ? near : undefined;
}

/**
 * The most that a sleep can have left whose timer is one of `gone`, or of which nothing is known if that is empty, and
 * whose whole timeout is given.
 */
export function latestTimer(gone: readonly bigint[], whole: bigint): bigint {
  return gone.findLast((left) => left <= whole) ?? whole;
}
