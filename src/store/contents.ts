/** The contents of a store: all packs, and the one that is being written. */
import { ImageError } from '../images/error.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { DigestMap, type Place } from './digest-map.ts';
import { damaged, digestOf, PackReader, PackWriter, packsIn, readIndex } from './packs.ts';
import { rootOf, type Snapshot, type SnapshotFile } from './snapshots.ts';
import { leavesOf } from './tree.ts';

/** Bytes of a page, which is the piece that page contents are cut into, in stores of every machine. */
export const PAGE = 4096;
/** Bytes of the pieces of other files; nodes of trees are no longer than this either. */
export const PIECE = 128 << 10;
const ZEROS = new Uint8Array(PAGE);
const ZERO_PAGE = Buffer.from(digestOf(ZEROS));

/** Contents by their digests. */
export class Contents implements Disposable {
  readonly #dir: string;
  readonly #map = new DigestMap();
  readonly #reader: PackReader;
  readonly #next: number;
  #writer: PackWriter | undefined;
  readonly #buffer = new Uint8Array(PIECE);

  /** @throws ImageError if an index is damaged */
  constructor(dir: string) {
    this.#dir = dir;
    this.#reader = new PackReader(dir);
    const packs = packsIn(dir);
    for (const number of packs) readIndex(dir, number, this.#map);
    this.#next = (packs.at(-1) ?? 0) + 1;
  }

  /** Bytes that were added and not there before. */
  get added(): number {
    return this.#writer?.size ?? 0;
  }

  /** Adds a content, unless it is there. Returns its digest. */
  put(content: Uint8Array): Uint8Array {
    if (isZeroPage(content)) return ZERO_PAGE;
    const digest = digestOf(content);
    if (this.#map.find(digest) < 0) {
      this.#writer ??= new PackWriter(this.#dir, this.#next);
      this.#map.add(digest, this.#writer.add(digest, content));
    }
    return digest;
  }

  /** Makes lasting what was added. */
  finish(): void {
    this.#writer?.finish();
  }

  /** How many contents there are; their numbers are below it. */
  get size(): number {
    return this.#map.size;
  }

  /** The number of a content; undefined for a page of zeros. @throws ImageError if it is not there */
  numberOf(digest: Uint8Array, file: string): number | undefined {
    if (ZERO_PAGE.equals(digest)) return undefined;
    const number = this.#map.find(digest);
    if (number >= 0) return number;
    const remedy = 'bring the packs back from a copy of the store, or remove the snapshot (store rm)';
    throw new ImageError({ file, reason: 'a part of it is not in the store', remedy });
  }

  /** Where the content of a number is. */
  placeOf(number: number): Place {
    return this.#map.placeOf(number);
  }

  /** The content of a number, and its digest; the next call overwrites it. @throws ImageError if it is damaged */
  contentOf(number: number): { readonly digest: Uint8Array; readonly content: Uint8Array } {
    const digest = this.#map.digestOf(number);
    return { digest, content: this.#read(this.#map.placeOf(number), digest) };
  }

  /** How long a content is, and where; undefined where for a page of zeros. @throws ImageError if it is not there */
  find(digest: Uint8Array, file: string): { readonly length: number; readonly place: Place | undefined } {
    const number = this.numberOf(digest, file);
    if (number === undefined) return { length: PAGE, place: undefined };
    const place = this.#map.placeOf(number);
    return { length: place.length, place };
  }

  /** Brings a content into a buffer that the next call overwrites. @throws ImageError if it is missing or damaged */
  get(digest: Uint8Array, file: string): Uint8Array {
    const { place } = this.find(digest, file);
    if (!place) return ZEROS;
    return this.#read(place, digest);
  }

  /** The digests of a file's contents. */
  leavesOf(file: SnapshotFile): Iterable<Uint8Array> {
    const root = rootOf(file);
    // A node is copied, since its children are brought before all of it is used.
    return root ? leavesOf(root, (digest) => this.get(digest, file.path).slice()) : [];
  }

  /** Compares all contents with their digests. Returns what is wrong, in words. */
  check(): string[] {
    const wrong: string[] = [];
    for (let number = 0; number < this.#map.size; number++) {
      if (number % 1024 === 0) requireUninterrupted();
      try {
        this.contentOf(number);
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        wrong.push(error.message);
      }
    }
    return wrong;
  }

  /** Looks whether all of a snapshot is there, in the size that it says. @throws ImageError */
  requireAll({ files }: Snapshot): void {
    for (const file of files) {
      let size = 0;
      for (const digest of this.leavesOf(file)) size += this.find(digest, file.path).length;
      if (size !== file.size) {
        throw new ImageError({ file: file.path, reason: `its parts have ${size} bytes, and it had ${file.size}` });
      }
    }
  }

  #read(place: Place, digest: Uint8Array): Uint8Array {
    const into = place.length <= PIECE ? this.#buffer : new Uint8Array(place.length);
    const content = this.#reader.read(place, into);
    if (Buffer.from(digest.buffer, digest.byteOffset, digest.length).equals(digestOf(content))) return content;
    throw damaged(place.pack, place.offset);
  }

  [Symbol.dispose](): void {
    this.#writer?.[Symbol.dispose]();
    this.#reader[Symbol.dispose]();
  }
}

/** Whether a content is a page of zeros, which is not stored. */
export function isZeroPage(content: Uint8Array): boolean {
  return content.length === PAGE && content[0] === 0 && Buffer.compare(content, ZEROS) === 0;
}
