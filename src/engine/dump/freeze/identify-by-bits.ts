/**
 * Identifies things that can only be tested in groups with a yes or no answer, by giving each a binary number. Pure.
 */

/** A numbering of things. Each binary digit of the numbers is one question, put to all things that have this digit. */
export interface Codes {
  /** The number of questions (binary digits). */
  readonly digits: number;
  /** Whether thing `index` takes part in question `digit`. */
  has(index: number, digit: number): boolean;
  /**
   * Assigns answers to things. `spelt` holds for each answer the set of questions, as bits, at which it was seen.
   * Answers whose bits are no number of a thing, or the same as another's, are left out.
   */
  read<T>(spelt: ReadonlyMap<T, number>): [T, number][];
}

/**
 * Codes for `count` things. An additional parity digit makes the sum of digits even, so that an answer missed once is
 * not mistaken for another thing.
 */
export function codesFor(count: number): Codes {
  const plain = 32 - Math.clz32(count);
  const checked = count > 1;
  const code = (index: number): number => (checked && isOdd(index + 1) ? (index + 1) | (1 << plain) : index + 1);
  const indices = new Map(Array.from({ length: count }, (_, index) => [code(index), index]));
  return {
    digits: plain + (checked ? 1 : 0),
    has: (index, digit) => (code(index) & (1 << digit)) !== 0,
    read(spelt) {
      const voices = new Map<number, number>();
      for (const word of spelt.values()) voices.set(word, (voices.get(word) ?? 0) + 1);
      return [...spelt].flatMap(([voice, word]) => {
        const index = indices.get(word);
        return index !== undefined && voices.get(word) === 1 ? [[voice, index] as [typeof voice, number]] : [];
      });
    },
  };
}

function isOdd(word: number): boolean {
  let odd = false;
  for (let rest = word; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}
