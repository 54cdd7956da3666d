/** The sink of an ordinary dump: `pages-N.img` and its pagemap. */
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import type { PageRun } from '../../images/pagemap.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import { ERRNO, Fd, trySyscall } from '../../kernel/syscall.ts';
import type { PageSums } from '../page-sums.ts';
import type { Lot } from '../plan/lots.ts';
import { BlockNotes } from './block-notes.ts';
import type { PageSink, PagesOf, SinkFile } from './sink.ts';
import { writeFailed } from './write-failed.ts';

export class PagesFileSink implements PageSink {
  readonly path: string;
  readonly out: Fd;
  readonly #images: ImageSetWriter;
  readonly #of: PagesOf;
  readonly #pagesId: number;
  readonly #name: string;
  readonly #sums: PageSums;
  readonly #notes = new BlockNotes();

  constructor(images: ImageSetWriter, of: PagesOf, pagesId: number, sums: PageSums) {
    this.#images = images;
    this.#of = of;
    this.#pagesId = pagesId;
    this.#sums = sums;
    this.#name = `pages-${pagesId}.img`;
    this.path = `${images.dir}/${this.#name}`;
    this.out = new Fd(images.create(this.#name));
  }

  put(lot: Lot, buffer: PinnedBuffer): void {
    // The sums are computed while the content is in the processor's cache.
    const sums = this.#sums.of(buffer.address, lot.length);
    this.#notes.add(lot.offset, sums === undefined ? [] : [[lot.length, sums]]);
    writeLot(this.out.number, buffer, lot, 0, this.path);
  }

  get file(): SinkFile {
    return {
      fd: this.out.number,
      base: 0,
      note: ({ offset }, blocks) => this.#notes.add(offset, blocks),
    };
  }

  finish(runs: readonly PageRun[]): void {
    const blocks = this.#notes.all;
    if (blocks) this.#images.noteBlocks(this.#name, blocks);
    this.#images.writePagemap(this.#of.kind, this.#of.id, { pagesId: this.#pagesId, runs });
  }

  [Symbol.dispose](): void {
    this.out[Symbol.dispose]();
  }
}

/** Writes a lot to its place in a file in which the pages begin at `base`. @throws StasisError (io) */
export function writeLot(
  fd: number,
  buffer: PinnedBuffer,
  { length, offset }: Pick<Lot, 'length' | 'offset'>,
  base: number,
  path: string,
): void {
  for (let done = 0; done < length; ) {
    const got = trySyscall('pwrite64', fd, buffer.address + done, length - done, base + offset + done);
    if (got > 0) done += got;
    else if (got !== -ERRNO.EINTR) throw writeFailed(path, got);
  }
}
