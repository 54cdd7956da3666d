/** The sink of a dump whose pages go to a page server. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { LocalAddress } from '../../base/brands.ts';
import type { PageRange } from '../../contract/contract.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import type { PageConnection } from '../page-server/connection.ts';
import { MESSAGE_SIZE, PS, putMessage } from '../page-server/protocol.ts';
import type { Lot } from '../plan/lots.ts';
import { partsBy } from '../plan/ranges.ts';
import type { SinkElsewhere } from './sink.ts';

/** How many messages go with one call. */
const MESSAGES = 512;

/**
 * Sends pages as they are put, and between them which ones the images of the previous dump have: a page server writes
 * its pagemap in the order in which it is told.
 */
export class PageServerSink implements SinkElsewhere {
  readonly hasParent: boolean;
  readonly #connection: PageConnection;
  readonly #target: bigint;
  readonly #messages = new PinnedBuffer(new Uint8Array(MESSAGES * MESSAGE_SIZE));
  readonly #view = new DataView(this.#messages.view.buffer);
  #used = 0;
  readonly #inherited: readonly PageRange[];
  readonly #lazy: readonly PageRange[];
  #told = 0;
  readonly #keep: (runs: readonly PageRun[]) => void;

  /**
   * @param ranges `inherited`: the pages that the previous dump has stored, told if the server has its images; `lazy`:
   * those that a restore may leave until they are needed; both ascending
   * @param keep called with the whole pagemap in the end
   */
  constructor(
    connection: PageConnection,
    target: bigint,
    hasParent: boolean,
    { inherited, lazy }: { readonly inherited: readonly PageRange[]; readonly lazy: readonly PageRange[] },
    keep: (runs: readonly PageRun[]) => void,
  ) {
    this.#connection = connection;
    this.#target = target;
    this.hasParent = hasParent;
    this.#inherited = hasParent ? inherited : [];
    this.#lazy = lazy;
    this.#keep = keep;
  }

  put({ pieces }: Lot, buffer: PinnedBuffer): void {
    let at: number = buffer.address;
    for (const piece of pieces) {
      this.#tellInherited(piece.start);
      for (const { start, length, inside } of partsBy(piece, this.#lazy)) {
        this.#add(inside ? PageFlags.PRESENT | PageFlags.LAZY : PageFlags.PRESENT, start, length);
        this.#connection.gather(at as LocalAddress, length);
        at += length;
      }
    }
    // The buffer is used again.
    this.#flush();
  }

  finish(runs: readonly PageRun[]): void {
    this.#tellInherited(Number.POSITIVE_INFINITY);
    this.#flush();
    this.#keep(runs);
  }

  #tellInherited(before: number): void {
    for (; this.#told < this.#inherited.length; this.#told++) {
      const { start, length } = this.#inherited[this.#told] as PageRange; // told < length
      if (start >= before) return;
      for (const part of partsBy({ start, length }, this.#lazy))
        this.#add(part.inside ? PageFlags.PARENT | PageFlags.LAZY : PageFlags.PARENT, part.start, part.length);
    }
  }

  #add(flags: number, start: number, length: number): void {
    // Room for this message, and for the contents after it.
    if (this.#used === MESSAGES || !this.#connection.hasRoom(2)) this.#flush();
    const at = this.#used++ * MESSAGE_SIZE;
    const target = this.#target;
    putMessage(this.#view, at, { command: PS.ADD_F, flags, pages: length / PAGE_SIZE, start, target });
    this.#connection.gather((this.#messages.address + at) as LocalAddress, MESSAGE_SIZE);
  }

  #flush(): void {
    this.#connection.flush(true);
    this.#used = 0;
  }

  [Symbol.dispose](): void {
    this.#messages[Symbol.dispose]();
  }
}
