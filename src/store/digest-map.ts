/** Where contents are, by their digests: a hash table in a few arrays, without an object for each content. */

/** Bytes of a digest (SHA-256). */
export const DIGEST_SIZE = 32;
const WORDS = DIGEST_SIZE / 4;

/** Where a content is: `length` bytes of a pack. */
export interface Place {
  readonly pack: number;
  readonly offset: number;
  readonly length: number;
}

/** Places by digests. Entries have numbers, from 0 on, in the order in which they were added. */
export class DigestMap {
  #count = 0;
  #digests = new Uint32Array(WORDS << 10);
  #packs = new Uint32Array(1 << 10);
  #offsets = new Float64Array(1 << 10);
  #lengths = new Uint32Array(1 << 10);
  /** The number of an entry and 1, or 0, at the place that its digest leads to or, if that is taken, behind it. */
  #slots = new Int32Array(1 << 11);
  readonly #sought = new Uint8Array(DIGEST_SIZE);
  readonly #words = new Uint32Array(this.#sought.buffer);

  /** How many entries there are. */
  get size(): number {
    return this.#count;
  }

  /** The number of a digest's entry; -1 if there is none. */
  find(digest: Uint8Array): number {
    this.#sought.set(digest);
    return (this.#slots[this.#slotOf(this.#words)] as number) - 1;
  }

  /** Adds a digest that is not there yet; returns its number. */
  add(digest: Uint8Array, { pack, offset, length }: Place): number {
    if (this.#count === this.#packs.length) this.#grow();
    const number = this.#count++;
    this.#sought.set(digest);
    this.#digests.set(this.#words, number * WORDS);
    this.#packs[number] = pack;
    this.#offsets[number] = offset;
    this.#lengths[number] = length;
    this.#slots[this.#slotOf(this.#words)] = number + 1;
    return number;
  }

  /** Where the content of an entry is. */
  placeOf(number: number): Place {
    const [pack = 0, offset = 0, length = 0] = [this.#packs[number], this.#offsets[number], this.#lengths[number]];
    return { pack, offset, length };
  }

  /** The digest of an entry. */
  digestOf(number: number): Uint8Array {
    return new Uint8Array(this.#digests.slice(number * WORDS, (number + 1) * WORDS).buffer);
  }

  /** The slot that has a digest, or that it would be put into. */
  #slotOf(words: Uint32Array): number {
    const mask = this.#slots.length - 1;
    let slot = (words[0] as number) & mask;
    for (;;) {
      const number = (this.#slots[slot] as number) - 1;
      if (number < 0 || this.#isAt(number * WORDS, words)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #isAt(at: number, words: Uint32Array): boolean {
    for (let i = 0; i < WORDS; i++) if (this.#digests[at + i] !== words[i]) return false;
    return true;
  }

  #grow(): void {
    const room = 2 * this.#packs.length;
    this.#digests = longer(this.#digests, new Uint32Array(room * WORDS));
    this.#packs = longer(this.#packs, new Uint32Array(room));
    this.#offsets = longer(this.#offsets, new Float64Array(room));
    this.#lengths = longer(this.#lengths, new Uint32Array(room));
    this.#slots = new Int32Array(2 * room);
    for (let number = 0; number < this.#count; number++) {
      const words = this.#digests.subarray(number * WORDS, (number + 1) * WORDS);
      this.#slots[this.#slotOf(words)] = number + 1;
    }
  }
}

function longer<T extends Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
