/** Where the contents of lazy pages come from. */
import type { LocalAddress, LocalFd } from '../../base/brands.ts';
import type { PageRange } from '../../contract/contract.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { endOf, firstBehind, without } from '../../memory/plan/ranges.ts';
import { keptByDump, type StoredPiece, storedPieces } from '../../support/page-store.ts';
import { PagesFiles } from '../../support/pages-files.ts';

/**
 * Called when pages have come: where they were at the dump, how many bytes, and where they are now. There may be fewer
 * than were asked for.
 */
export type Arrival = (from: number, length: number, address: LocalAddress) => void;

/** Gives pages; of a task, by its PID in the images, and where they were at the dump. */
export interface LazySource extends Disposable {
  /** The most bytes to ask for at once. */
  readonly most: number;
  /** Whether more can be asked for while nobody waits for it. */
  readonly hasRoom: boolean;
  /** Makes sure that all pages of a task can be had. @throws StasisError */
  require(pid: number, ranges: readonly PageRange[]): void;
  /** Asks for pages. @throws StasisError */
  request(pid: number, from: number, length: number, arrival: Arrival): void;
  /** A connection by which pages come; {@link receive} is to be called when there is something to receive. */
  readonly connection?: LocalFd | undefined;
  receive?(): void;
  /** Says that everything was brought. */
  finish?(): void;
}

/** Bytes that are read at once. */
const BUFFER = 1 << 20;

/** Pages that are in the images, those of earlier dumps included. */
export class ImageSource implements LazySource {
  readonly most = BUFFER;
  readonly hasRoom = true;
  readonly #images: ImageSet;
  readonly #pieces = new Map<number, readonly StoredPiece[]>();
  readonly #files = new PagesFiles();
  readonly #buffer = new PinnedBuffer(new Uint8Array(BUFFER));

  constructor(images: ImageSet) {
    this.#images = images;
  }

  /** The pages of a task that are here. @throws ImageError */
  piecesOf(pid: number): readonly StoredPiece[] {
    const known = this.#pieces.get(pid) ?? storedPieces(this.#images, Images.pagemap, pid) ?? [];
    this.#pieces.set(pid, known);
    return known;
  }

  /** How many bytes from a page on are here, 0 if it is not; then `next` is the next page that is. */
  lengthAt(pid: number, from: number): { readonly here: number; readonly next: number } {
    const pieces = this.piecesOf(pid);
    const piece = pieces[firstBehind(pieces, from)];
    if (!piece) return { here: 0, next: Number.POSITIVE_INFINITY };
    return piece.start <= from ? { here: endOf(piece) - from, next: from } : { here: 0, next: piece.start };
  }

  require(pid: number, ranges: readonly PageRange[]): void {
    const [missing] = without(ranges, this.piecesOf(pid));
    if (!missing) return;
    throw keptByDump(pid, missing.start, 'say where the dump is: --page-server --address ADDRESS --port PORT');
  }

  request(pid: number, from: number, length: number, arrival: Arrival): void {
    const done = this.read(pid, from, length, this.#buffer.address);
    arrival(from, done, this.#buffer.address);
  }

  /** Reads pages to an address of ours; returns how many bytes, which are fewer if what follows is not here. */
  read(pid: number, from: number, length: number, to: LocalAddress): number {
    const pieces = this.piecesOf(pid);
    let done = 0;
    for (let i = firstBehind(pieces, from); done < length; i++) {
      const piece = pieces[i];
      if (!piece || piece.start > from + done) break;
      const part = Math.min(endOf(piece) - from - done, length - done);
      this.#files.read(piece.file, piece.offset + from + done - piece.start, part, to + done);
      done += part;
    }
    return done;
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
  }
}
