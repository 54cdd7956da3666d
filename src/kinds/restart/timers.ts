/** Which of several timers was a sleeping task's. Pure. */

/** Nanoseconds between setting a timer and leaving the CPU, at most, on a machine that is not too busy. */
const SOON = 2_000_000n;

/**
 * The task's own among the times left of timers that were taken off at the freeze: in that moment other tasks may have been
 * woken early as well. `expected` is what it should have left; undefined if not even that is known, and the list is known
 * to have no other's timer. Undefined if it cannot be told.
 */
export function ownTimer(gone: readonly bigint[], expected: bigint | undefined): bigint | undefined {
  const near = gone.filter((left) => expected === undefined || (left <= expected + SOON && left >= expected - SOON));
  return near.length === 1 ? near[0] : undefined;
}
