/** Binary search by kcmp(2), which not only tells whether two kernel objects are the same but also orders them. */

/** The result of kcmp(2) if the first object comes after the second; 0 means that they are the same. */
const AFTER = 2;

/**
 * Looks for an object in a list sorted in the kernel's order. `order` returns what kcmp(2) says of the object looked
 * for and another one. Returns the equal element or, if there is none, the index at which to insert the object.
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
