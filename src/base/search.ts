/** Binary search. Pure. */

/**
 * The first of the indices from 0 on for which `isBefore` does not hold; `length` if it holds for all below that. It
 * must hold for none behind one for which it does not.
 */
export function firstIndex(length: number, isBefore: (index: number) => boolean): number {
  let low = 0;
  for (let high = length; low < high; ) {
    const middle = (low + high) >> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
