/**
 * The side that gives pages when they are asked for: a dump that has kept them in its frozen tasks (`dump
 * --lazy-pages`), or a page server that has them in images (`page-server --lazy-pages`).
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { type HostPid, type LocalAddress, localFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug, logInfo } from '../../base/log.ts';
import { ImageSet } from '../../images/image-set.ts';
import { PageFlags } from '../../images/pagemap.ts';
import { disk } from '../../kernel/disk.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import type { Fd } from '../../kernel/syscall.ts';
import { PageConnection } from '../../memory/page-server/connection.ts';
import { MESSAGE_SIZE, type PageMessage, PS, putMessage } from '../../memory/page-server/protocol.ts';
import type { KeptPages } from '../../memory/pages.ts';
import { endOf, firstBehind } from '../../memory/plan/ranges.ts';
import type { TlsOptions } from '../../support/transport/tls.ts';
import { forceRead, openMemory } from '../../tracee/memory.ts';
import { ImageSource } from '../lazy-pages/source.ts';
import { type AcceptedPages, acceptPages, givenPages, listenForPages, placeOfSocket } from './listen.ts';
import { Receiver } from './receive.ts';

/** Most bytes that are given at once; whoever wants more asks again. */
const AT_ONCE = 1 << 20;

/** Where pages are given from. */
export interface GivenPages {
  /** How many bytes from a page of a task on can be given, by its PID in the images; 0 if none. */
  lengthAt(pid: number, address: number): number;
  /** Reads pages into the beginning of the buffer. @throws StasisError */
  read(pid: number, address: number, length: number, buffer: PinnedBuffer<Uint8Array<ArrayBuffer>>): void;
}

/** Pages that are in frozen tasks still. The keys are PIDs in the images. */
export class PagesOfTasks implements GivenPages, Disposable {
  readonly #kept: ReadonlyMap<number, KeptPages>;
  readonly #memory = new Map<number, Fd>();

  constructor(kept: ReadonlyMap<number, KeptPages>) {
    this.#kept = kept;
  }

  lengthAt(pid: number, address: number): number {
    const { ranges = [] } = this.#kept.get(pid) ?? {};
    const range = ranges[firstBehind(ranges, address)];
    return range && range.start <= address ? endOf(range) - address : 0;
  }

  read(pid: number, address: number, length: number, buffer: PinnedBuffer<Uint8Array<ArrayBuffer>>): void {
    const here = this.#kept.get(pid)?.pid as HostPid; // its length was asked before
    const memory = this.#memory.get(pid) ?? openMemory(here);
    this.#memory.set(pid, memory);
    const got = forceRead(memory, address, buffer.view, length);
    if (got === length) return;
    throw new StasisError({
      kind: 'gone',
      task: { pid: here },
      reason: 'the task was killed while its pages were given',
    });
  }

  [Symbol.dispose](): void {
    for (const memory of this.#memory.values()) memory[Symbol.dispose]();
  }
}

/** Pages that are in images, those of earlier dumps included. */
export class PagesOfImages implements GivenPages, Disposable {
  readonly #source: ImageSource;

  constructor(imagesDir: string) {
    this.#source = new ImageSource(new ImageSet(imagesDir, undefined, disk));
  }

  lengthAt(pid: number, address: number): number {
    return this.#source.lengthAt(pid, address).here;
  }

  read(pid: number, address: number, length: number, buffer: PinnedBuffer<Uint8Array<ArrayBuffer>>): void {
    this.#source.read(pid, address, length, buffer.address);
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Where to wait for whoever asks: an address to listen at, or a connection. */
export type GivingPlace = ({ readonly sockaddr: Uint8Array } | { readonly descriptor: number }) & {
  readonly tls?: TlsOptions | undefined;
};

/** Gives pages over one connection. */
export class PagesGiver implements Disposable {
  readonly #listener: Fd | undefined;
  readonly #descriptor: number | undefined;
  readonly #tls: TlsOptions | undefined;

  /** Begins to listen. @throws StasisError */
  constructor(place: GivingPlace) {
    this.#tls = place.tls;
    this.#listener = 'sockaddr' in place ? listenForPages(place.sockaddr) : undefined;
    this.#descriptor = 'descriptor' in place ? place.descriptor : undefined;
  }

  /** Where it listens: as people write it, and the port. */
  get place(): { readonly name: string; readonly port: number } {
    return placeOfSocket(this.#listener?.number ?? localFd(this.#descriptor ?? -1));
  }

  /**
   * Waits for whoever asks, and gives until it says that it has everything.
   * @throws StasisError if it goes away before that
   */
  serve(pages: GivenPages): void {
    const given = localFd(this.#descriptor ?? -1);
    using connection = this.#listener
      ? acceptPages(this.#listener, this.#tls)
      : givenPages(given, `descriptor ${given}`, this.#tls);
    // There is one connection only; whoever else tries is told so.
    this.#listener?.[Symbol.dispose]();
    giveOver(connection, pages);
  }

  [Symbol.dispose](): void {
    this.#listener?.[Symbol.dispose]();
  }
}

/**
 * Gives pages over a connection, until the other side says that it has everything. Returns how many.
 * @throws StasisError if it goes away before that
 */
export function giveOver({ socket, from, whyEnded }: AcceptedPages, pages: GivenPages): number {
  const name = `the lazy-pages daemon at ${from}`;
  using connection = new PageConnection(socket, { name, isUrgent: false, whyEnded });
  using receiver = new Receiver(connection);
  using buffer = new PinnedBuffer(new Uint8Array(AT_ONCE));
  using answer = new PinnedBuffer(new Uint8Array(MESSAGE_SIZE));
  let bytes = 0;
  for (;;) {
    const message = receiver.message();
    if (!message) throw connection.error('PAGE_SERVER_LOST', 'it has hung up before it had everything', LOG);
    if (message.command === PS.CLOSE || message.command === PS.FORCE_CLOSE) break;
    const { pid, start, length } = wanted(connection, message, pages);
    pages.read(pid, start, length, buffer);
    const given = { command: PS.ADD_F, flags: PageFlags.PRESENT, pages: length / PAGE_SIZE, start };
    putMessage(new DataView(answer.view.buffer), 0, { ...given, target: message.target });
    connection.gather(answer.address, MESSAGE_SIZE);
    connection.gather(buffer.address as LocalAddress, length);
    connection.flush(false);
    bytes += length;
    logDebug(`task ${pid}: ${length / PAGE_SIZE} pages at 0x${start.toString(16)} are given`);
  }
  new DataView(answer.view.buffer).setInt32(0, 0, true);
  connection.gather(answer.address, 4);
  connection.flush(false);
  logInfo(`${bytes / PAGE_SIZE} pages were given`);
  return bytes / PAGE_SIZE;
}

const LOG = 'its log says why';

/** What a message asks for, and how much of it there is. @throws StasisError if there is nothing */
function wanted(
  connection: PageConnection,
  { command, pages: count, start, target }: PageMessage,
  pages: GivenPages,
): { readonly pid: number; readonly start: number; readonly length: number } {
  const pid = Number(target);
  if (command !== PS.GET) throw connection.error('PAGE_SERVER_PROTOCOL', `it asks for something else (${command})`);
  const length = start % PAGE_SIZE === 0 ? pages.lengthAt(pid, start) : 0;
  if (length > 0 && count > 0) return { pid, start, length: Math.min(length, count * PAGE_SIZE, AT_ONCE) };
  const reason = `it asks for a page of task ${pid} at 0x${start.toString(16)} that is not here`;
  throw connection.error('PAGE_SERVER_PROTOCOL', reason, 'give it the images of this dump (-D)');
}
