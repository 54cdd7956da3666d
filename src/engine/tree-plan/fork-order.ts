/** A partial order of nodes by number: which must be among the ancestors of which when all are forked. */

const WORD_BITS = 32;

/**
 * The order, closed under transitivity: what is above a node is above all that is below it. Additions can be taken back
 * in reverse. One bit for each pair of nodes.
 */
export class ForkOrder {
  readonly #count: number;
  readonly #words: number;
  /** For each node the bits of all nodes above it. */
  readonly #above: Uint32Array;
  /** All pairs in the order in which they were added, as `below * count + above`. */
  readonly #added: number[] = [];

  constructor(count: number) {
    this.#count = count;
    this.#words = Math.ceil(count / WORD_BITS);
    this.#above = new Uint32Array(count * this.#words);
  }

  isAbove(above: number, below: number): boolean {
    const word = this.#above[below * this.#words + (above >>> 5)] ?? 0;
    return (word & (1 << (above & 31))) !== 0;
  }

  /** The nodes above one. */
  *allAbove(below: number): Generator<number> {
    for (let index = 0; index < this.#words; index++) {
      let word = this.#above[below * this.#words + index] ?? 0;
      for (; word !== 0; word &= word - 1) yield index * WORD_BITS + 31 - Math.clz32(word & -word);
    }
  }

  /** The number of nodes above one. It is larger for a node than for all nodes above it. */
  countAbove(below: number): number {
    let count = 0;
    for (const _ of this.allAbove(below)) count++;
    return count;
  }

  /**
   * Puts a node above another one, and what is above that above all that is below this.
   * @param onPair is told of each pair that is new by that
   * @returns false, and nothing has been done, if the other one is above it already
   */
  add(above: number, below: number, onPair: (above: number, below: number) => void): boolean {
    if (above === below || this.isAbove(below, above)) return false;
    if (this.isAbove(above, below)) return true;
    const highers = [above, ...this.allAbove(above)];
    const from = this.#added.length;
    for (let node = 0; node < this.#count; node++) {
      if (node !== below && !this.isAbove(below, node)) continue;
      for (const higher of highers) if (!this.isAbove(higher, node)) this.#set(higher, node);
    }
    for (const pair of this.#added.slice(from)) onPair(pair % this.#count, Math.floor(pair / this.#count));
    return true;
  }

  #set(above: number, below: number): void {
    const at = below * this.#words + (above >>> 5);
    this.#above[at] = (this.#above[at] ?? 0) | (1 << (above & 31));
    this.#added.push(below * this.#count + above);
  }

  /** A mark of the present state, for {@link backTo}. */
  get mark(): number {
    return this.#added.length;
  }

  /** Takes back all additions after a mark. */
  backTo(mark: number): void {
    while (this.#added.length > mark) {
      const pair = this.#added.pop() ?? 0;
      const above = pair % this.#count;
      const at = Math.floor(pair / this.#count) * this.#words + (above >>> 5);
      this.#above[at] = (this.#above[at] ?? 0) & ~(1 << (above & 31));
    }
  }
}
