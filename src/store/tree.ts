/**
 * A file as a tree: its contents are the leaves, and a node is a list of digests, which is stored as a content itself.
 * So two files that differ in a few places have most nodes in common.
 *
 * Where a list ends is told by the digest that ends it, not by its length: what follows a page that was inserted is cut
 * in the same places as before. Pure.
 */
import { DIGEST_SIZE } from './digest-map.ts';

/** The top of a tree. With no levels the digest is that of the file's only content. */
export interface Root {
  readonly digest: Uint8Array;
  readonly levels: number;
}

/** The fewest and most digests in a list, but for the last one. */
const [LEAST, MOST] = [16, 1024];
/** One digest in as many ends a list. */
const ONE_IN = 64;

/** Makes a tree of the digests of a file's contents. `put` stores the content of a node and returns its digest. */
export class TreeWriter {
  readonly #put: (content: Uint8Array) => Uint8Array;
  /** For each level, the digests that are in no node yet. */
  readonly #levels: Uint8Array[][] = [];

  constructor(put: (content: Uint8Array) => Uint8Array) {
    this.#put = put;
  }

  /** Adds the digest of the next content. */
  add(digest: Uint8Array): void {
    this.#add(digest, 0);
  }

  /** The tree of what was added; undefined if that was nothing. */
  finish(): Root | undefined {
    for (let level = 0; level < this.#levels.length; level++) {
      const list = this.#levels[level] as Uint8Array[]; // level < length
      const [first] = list;
      if (level === this.#levels.length - 1 && list.length === 1 && first) return { digest: first, levels: level };
      if (list.length > 0) this.#close(level);
    }
    return undefined;
  }

  #add(digest: Uint8Array, level: number): void {
    this.#levels[level] ??= [];
    const list = this.#levels[level];
    list.push(digest);
    const ends = (digest[DIGEST_SIZE - 1] as number) % ONE_IN === 0;
    if (list.length === MOST || (ends && list.length >= LEAST)) this.#close(level);
  }

  /** Makes a node of the list of a level. */
  #close(level: number): void {
    const node = Buffer.concat(this.#levels[level] as Uint8Array[]); // whoever calls has put something into it
    this.#levels[level] = [];
    this.#add(this.#put(node), level + 1);
  }
}

/** The digests in a node. @throws RangeError if its size is not that of a list */
export function* digestsIn(node: Uint8Array): Generator<Uint8Array> {
  if (node.length % DIGEST_SIZE !== 0) throw new RangeError(`a node of ${node.length} bytes`);
  for (let at = 0; at < node.length; at += DIGEST_SIZE) yield node.subarray(at, at + DIGEST_SIZE);
}

/** The digests of a file's contents, in their order. `get` brings the content of a node. */
export function* leavesOf(
  { digest, levels }: Root,
  get: (digest: Uint8Array) => Uint8Array,
): Generator<Uint8Array, void, void> {
  if (levels === 0) yield digest;
  else for (const child of digestsIn(get(digest))) yield* leavesOf({ digest: child, levels: levels - 1 }, get);
}
