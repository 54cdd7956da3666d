/** Which of several timers was a sleeping task's. Pure. */

/** Nanoseconds between setting a timer and leaving the CPU, at most, on a machine that is not too busy. */
const SOON = 2_000_000n;

/**
 * The task's own among the times left of timers that were taken off at the freeze: in that moment other tasks may have been
 * woken early as well. `atMost` is the longest it may have left, `expected` what it has if it set its timer only once.
 * Undefined if it cannot be told.
 */
export function ownTimer(gone: readonly bigint[], atMost: bigint, expected: bigint | undefined): bigint | undefined {
  const fitting = gone.filter((left) => left <= atMost + SOON);
  if (fitting.length === 1) return fitting[0];
  if (expected === undefined) return undefined;
  const near = fitting.filter((left) => left >= expected - SOON);
  return near.length === 1 ? near[0] : undefined;
}
