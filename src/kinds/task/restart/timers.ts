/** Which of several timers was a sleeping task's. Pure. */

/** Nanoseconds between setting a timer and leaving the CPU, at most, on a machine that is not too busy. */
const SOON = 2_000_000n;

/**
 * The task's own among the times left, ascending, of timers that were taken off at the freeze: in that moment other tasks
 * may have been woken early as well. `expected` is what it should have left; undefined if not even that is known, and the list is known
 * to have no other's timer. Undefined if it cannot be told.
 */
export function ownTimer(gone: readonly bigint[], expected: bigint | undefined): bigint | undefined {
  if (expected === undefined) return gone.length === 1 ? gone[0] : undefined;
  const first = firstFrom(gone, expected - SOON);
  const [near, next] = [gone[first], gone[first + 1]];
  const isNear = (left: bigint | undefined): boolean => left !== undefined && left <= expected + SOON;
  return isNear(near) && !isNear(next) ? near : undefined;
}

/** Index of the first of ascending numbers that is not below `least`: a thousand threads look into a thousand timers. */
function firstFrom(ascending: readonly bigint[], least: bigint): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as bigint) < least)
      low = middle + 1; // middle < length
    else high = middle;
  }
  return low;
}
