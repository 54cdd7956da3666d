/** The checksums of page contents that are put into a file in any order. */
import type { Block } from '../../images/manifest.ts';

/** Gathers the checksums of lots, by their offsets. */
export class BlockNotes {
  readonly #blocks = new Map<number, readonly Block[]>();
  readonly #offsets: number[] = [];

  /** Notes a lot; without blocks if its checksums could not be computed. */
  add(offset: number, blocks: readonly Block[]): void {
    this.#offsets.push(offset);
    if (blocks.length > 0) this.#blocks.set(offset, blocks);
  }

  /** All of them in order; undefined unless all are known: a processor that cannot compute the sums has none. */
  get all(): readonly Block[] | undefined {
    const list = this.#offsets.sort((a, b) => a - b).map((offset) => this.#blocks.get(offset));
    return list.every((part) => part !== undefined) ? list.flat() : undefined;
  }
}
