/** kcmp(2) does not only tell whether two kernel objects are the same: it gives objects an order. */

/** What it answers if the first of two comes after the second; 0 means that they are the same. */
const AFTER = 2;

/**
 * Looks for an object among those that are in the kernel's order. `order` is what kcmp(2) answers for the object looked
 * for and another. Answers the one that is the same or, if there is none, the index at which it is to be put.
 */
export function findInOrder<T>(sorted: readonly T[], order: (other: T) => number): T | number {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    const other = sorted[middle] as T; // middle < length
    const answer = order(other);
    if (answer === 0) return other;
    if (answer === AFTER) low = middle + 1;
    else high = middle;
  }
  return low;
}
