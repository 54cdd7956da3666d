/** Pages that somebody else has: a dump whose tasks have kept them, or a page server that has them in images. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { LocalAddress, LocalFd } from '../../base/brands.ts';
import { PageFlags } from '../../images/pagemap.ts';
import { MSG } from '../../kernel/constants/sockets.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { ERRNO, trySyscall } from '../../kernel/syscall.ts';
import { type Connected, connectWith, type PageServerPlace } from '../../memory/page-server/client.ts';
import { PageConnection } from '../../memory/page-server/connection.ts';
import { getMessage, MESSAGE_SIZE, PS, putMessage } from '../../memory/page-server/protocol.ts';
import type { Arrival, ImageSource, LazySource } from './source.ts';

/** Bytes asked for at once. Whoever waits for a page waits for what was asked for before as well. */
const MOST = 256 << 10;
/** What may be on its way when nobody waits: one lot comes, and the next one is asked for already. */
const ON_THE_WAY = 2;

/** What was asked for. */
interface Request {
  readonly pid: number;
  readonly from: number;
  readonly length: number;
  readonly arrival: Arrival;
}

export class RemoteSource implements LazySource {
  readonly most = MOST;
  readonly #local: ImageSource;
  readonly #connected: Connected;
  readonly #connection: PageConnection;
  /** Answered in this order. */
  readonly #requests: Request[] = [];
  /** A message and the pages behind it. */
  readonly #buffer = new PinnedBuffer(new Uint8Array(MESSAGE_SIZE + MOST));
  readonly #message = new PinnedBuffer(new Uint8Array(MESSAGE_SIZE));
  #received = 0;

  /** Connects. Pages that are in the images are read there. @throws StasisError */
  constructor(local: ImageSource, place: PageServerPlace) {
    this.#local = local;
    this.#connected = connectWith(place);
    const { socket, name, whyEnded } = this.#connected;
    this.#connection = new PageConnection(socket, { name, isUrgent: false, whyEnded });
  }

  get hasRoom(): boolean {
    return this.#requests.length < ON_THE_WAY;
  }

  get connection(): LocalFd {
    return this.#connected.socket;
  }

  /** What is not in the images the other side has; it says so when it is asked. */
  require(): void {}

  request(pid: number, from: number, length: number, arrival: Arrival): void {
    const { here, next } = this.#local.lengthAt(pid, from);
    if (here > 0) {
      this.#local.request(pid, from, Math.min(length, here), arrival);
      return;
    }
    const asked = Math.min(length, next - from, MOST);
    this.#requests.push({ pid, from, length: asked, arrival });
    this.#send({ command: PS.GET, pages: asked / PAGE_SIZE, start: from, target: BigInt(pid) });
  }

  #send(message: Parameters<typeof putMessage>[2]): void {
    putMessage(new DataView(this.#message.view.buffer), 0, message);
    this.#connection.gather(this.#message.address, MESSAGE_SIZE);
    this.#connection.flush(false);
  }

  /** Receives what has come. @throws StasisError */
  receive(): void {
    for (;;) {
      const [request] = this.#requests;
      const wanted = this.#received < MESSAGE_SIZE ? MESSAGE_SIZE : MESSAGE_SIZE + this.#length(request);
      const left = wanted - this.#received;
      const at = this.#buffer.address + this.#received;
      const got = trySyscall('recvfrom', this.connection, at, left, MSG.DONTWAIT, 0, 0);
      if (got === -ERRNO.EAGAIN || got === -ERRNO.EINTR) return;
      if (got < 0) throw this.#connection.failed(got);
      if (got === 0) throw this.#connection.error('PAGE_SERVER_LOST', 'it has hung up before everything was there');
      this.#received += got;
      if (this.#received > MESSAGE_SIZE && got === left) this.#deliver(request);
    }
  }

  /** How many bytes follow the message that was received. @throws StasisError if it does not answer the request */
  #length(request: Request | undefined): number {
    const { command, flags, pages, start, target } = getMessage(new DataView(this.#buffer.view.buffer), 0);
    const length = pages * PAGE_SIZE;
    const isAnswer = command === PS.ADD_F && (flags & PageFlags.PRESENT) !== 0 && target === BigInt(request?.pid ?? -1);
    if (isAnswer && start === request?.from && length > 0 && length <= request.length) return length;
    const reason = `it answers ${command} with ${pages} pages at 0x${start.toString(16)} to what was asked`;
    throw this.#connection.error('PAGE_SERVER_PROTOCOL', reason);
  }

  #deliver(request: Request | undefined): void {
    const length = this.#received - MESSAGE_SIZE;
    this.#received = 0;
    this.#requests.shift();
    request?.arrival(request.from, length, (this.#buffer.address + MESSAGE_SIZE) as LocalAddress);
  }

  finish(): void {
    // A connection of others stays open, so that the other side cannot tell by it that this was all.
    this.#send({ command: this.#connected.own ? PS.CLOSE : PS.FORCE_CLOSE, target: 0n });
    while (this.#requests.length > 0) {
      this.#connection.awaitInput();
      this.receive();
    }
    using answer = new PinnedBuffer(new Uint8Array(4));
    this.#connection.receive(answer);
    const status = new DataView(answer.view.buffer).getInt32(0, true);
    if (status !== 0) throw this.#connection.error('PAGE_SERVER_FAILED', `it says that it has failed (${status})`);
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
    this.#connected.own?.[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
    this.#message[Symbol.dispose]();
  }
}
