/** Converts capability sets between 64-bit masks and the two 32-bit words of images. Pure. */

const LOW = 0xffff_ffffn;

/** The words of a mask: capabilities 0 to 31, then 32 to 63. */
export function capWords(mask: bigint): number[] {
  return [Number(mask & LOW), Number((mask >> 32n) & LOW)];
}

/** The mask of an image's words; empty for an old image without the set. */
export function capMask(words: readonly number[]): bigint {
  return words.reduce((mask, word, i) => mask | (BigInt(word) << BigInt(32 * i)), 0n);
}

/** The numbers of the capabilities in a mask. */
export function capNumbers(mask: bigint): number[] {
  const numbers: number[] = [];
  for (let rest = mask, n = 0; rest !== 0n; rest >>= 1n, n++) if (rest & 1n) numbers.push(n);
  return numbers;
}
