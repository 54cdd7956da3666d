/** The sink of a dump into an archive: page contents become members of it as they are drained. */
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import type { PageRun } from '../../images/pagemap.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import type { ArchiveWriter } from '../../support/archive/writer.ts';
import { PageSums } from '../page-sums.ts';
import type { Lot } from '../plan/lots.ts';
import { BlockNotes } from './block-notes.ts';
import type { PagesElsewhere, PagesOf, SinkElsewhere, SinkFile } from './sink.ts';

export class ArchivePages implements PagesElsewhere {
  readonly #archive: ArchiveWriter;
  readonly #sums = new PageSums();
  #nextId = 1;

  constructor(archive: ArchiveWriter) {
    this.#archive = archive;
  }

  open(images: ImageSetWriter, of: PagesOf): SinkElsewhere {
    return new ArchiveSink(this.#archive, images, of, this.#nextId++, this.#sums);
  }

  finish(): void {}
}

class ArchiveSink implements SinkElsewhere {
  /** The link to the previous images is in the archive. */
  readonly hasParent = true;
  readonly #archive: ArchiveWriter;
  readonly #images: ImageSetWriter;
  readonly #of: PagesOf;
  readonly #pagesId: number;
  readonly #sums: PageSums;
  readonly #notes = new BlockNotes();
  #size = 0;
  /** Where in the archive the pages begin. */
  #base = 0;

  constructor(archive: ArchiveWriter, images: ImageSetWriter, of: PagesOf, pagesId: number, sums: PageSums) {
    this.#archive = archive;
    this.#images = images;
    this.#of = of;
    this.#pagesId = pagesId;
    this.#sums = sums;
  }

  get #name(): string {
    return `pages-${this.#pagesId}.img`;
  }

  begin(bytes: number): void {
    this.#size = bytes;
    this.#base = this.#archive.beginPages(this.#name, bytes);
  }

  put(lot: Lot, buffer: PinnedBuffer): void {
    const sums = this.#sums.of(buffer.address, lot.length);
    this.#notes.add(lot.offset, sums === undefined ? [] : [[lot.length, sums]]);
    this.#archive.target.put(this.#base + lot.offset, buffer.view.subarray(0, lot.length));
  }

  get file(): SinkFile | undefined {
    const { file } = this.#archive.target;
    if (!file) return undefined;
    return { fd: file.number, base: this.#base, note: ({ offset }, blocks) => this.#notes.add(offset, blocks) };
  }

  finish(runs: readonly PageRun[]): void {
    this.#images.note(this.#name, { size: this.#size });
    const blocks = this.#notes.all;
    if (blocks) this.#images.noteBlocks(this.#name, blocks);
    this.#images.writePagemap(this.#of.kind, this.#of.id, { pagesId: this.#pagesId, runs });
  }

  [Symbol.dispose](): void {}
}
