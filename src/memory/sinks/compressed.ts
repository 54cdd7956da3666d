/** The sink of a dump whose page contents are compressed. */
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { compressedName } from '../../images/own-files.ts';
import type { PageRun } from '../../images/pagemap.ts';
import { encodeSeekTable, FRAME_SIZE, type Frame } from '../../images/seek-table.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import { tryWrite } from '../../kernel/files.ts';
import { Fd } from '../../kernel/syscall.ts';
import { frameCompressor } from '../../support/compressed-pages.ts';
import type { Lot } from '../plan/lots.ts';
import type { PagesElsewhere, PagesOf, SinkElsewhere } from './sink.ts';
import { writeFailed } from './write-failed.ts';

export class CompressedPages implements PagesElsewhere {
  readonly #compress: (bytes: Uint8Array) => Uint8Array;
  #nextId = 1;

  /** @throws StasisError if the runtime cannot compress */
  constructor() {
    this.#compress = frameCompressor();
  }

  open(images: ImageSetWriter, of: PagesOf): SinkElsewhere {
    return new CompressedSink(images, of, this.#nextId++, this.#compress);
  }

  finish(): void {}
}

class CompressedSink implements SinkElsewhere {
  /** The link to the previous images is beside these. */
  readonly hasParent = true;
  readonly #images: ImageSetWriter;
  readonly #of: PagesOf;
  readonly #pagesId: number;
  readonly #compress: (bytes: Uint8Array) => Uint8Array;
  readonly #path: string;
  readonly #out: Fd;
  readonly #frames: Frame[] = [];
  /** What does not fill a frame yet. */
  readonly #rest = new Uint8Array(FRAME_SIZE);
  #filled = 0;

  constructor(images: ImageSetWriter, of: PagesOf, pagesId: number, compress: (bytes: Uint8Array) => Uint8Array) {
    this.#images = images;
    this.#of = of;
    this.#pagesId = pagesId;
    this.#compress = compress;
    this.#path = `${images.dir}/${compressedName(pagesId)}`;
    images.drop(`pages-${pagesId}.img`);
    this.#out = new Fd(images.create(compressedName(pagesId)));
  }

  put({ length }: Lot, buffer: PinnedBuffer): void {
    for (let done = 0; done < length; ) {
      const part = buffer.view.subarray(done, Math.min(length, done + FRAME_SIZE - this.#filled));
      if (part.length === FRAME_SIZE) this.#add(part);
      else {
        this.#rest.set(part, this.#filled);
        this.#filled += part.length;
        if (this.#filled === FRAME_SIZE) this.#flush();
      }
      done += part.length;
    }
  }

  finish(runs: readonly PageRun[]): void {
    if (this.#filled > 0) this.#flush();
    this.#write(encodeSeekTable(this.#frames));
    this.#images.writePagemap(this.#of.kind, this.#of.id, { pagesId: this.#pagesId, runs });
  }

  #flush(): void {
    this.#add(this.#rest.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #add(plain: Uint8Array): void {
    const packed = this.#compress(plain);
    this.#frames.push({ packed: packed.length, plain: plain.length });
    this.#write(packed);
  }

  #write(bytes: Uint8Array): void {
    const result = tryWrite(this.#out.number, bytes);
    if (result < 0) throw writeFailed(this.#path, result);
  }

  [Symbol.dispose](): void {
    this.#out[Symbol.dispose]();
  }
}
