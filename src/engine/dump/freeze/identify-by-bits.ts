/** Numbers for things that can only be told apart by asking some of them at once, yes or no. Pure. */

export interface Codes {
  /** How many questions it takes. */
  readonly digits: number;
  /** Whether thing `index` is asked in question `digit`. */
  has(index: number, digit: number): boolean;
  /**
   * Which thing gave which answers: `spelt` has, for each voice that was heard, the questions it was heard at, as bits.
   * Voices that spell no number, or the same as another, are left out.
   */
  read<T>(spelt: ReadonlyMap<T, number>): [T, number][];
}

/**
 * Codes for `count` things. One more digit than the numbers need makes the sum of digits even, so that a voice missed
 * once is no other's.
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
