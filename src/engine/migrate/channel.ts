/** The connection of a migration: messages of JSON, each after its length (4 bytes), and bytes that follow one. */
import type { LocalAddress, LocalFd } from '../../base/brands.ts';
import type { StasisError } from '../../base/errors.ts';
import { decodeText, encodeText } from '../../base/text.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { PageConnection } from '../../memory/page-server/connection.ts';
import { failureError } from './failures.ts';
import type { Message } from './messages.ts';

/** The longest message, in bytes. */
const LONGEST = 64 << 20;

/** A connected stream socket, and who is at its other end. */
export interface Link extends Disposable {
  readonly socket: LocalFd;
  /** How errors name the other end: a host and a port. */
  readonly name: string;
  readonly whyEnded?: (() => StasisError | undefined) | undefined;
}

/** Sends and receives messages. In between, the socket serves a page server and its client. */
export class Channel implements Disposable {
  readonly link: Link;
  readonly #connection: PageConnection;

  /** `isUrgent`: the other side has to take and answer everything within a minute. */
  constructor(link: Link, isUrgent: boolean) {
    this.link = link;
    const { socket, name, whyEnded } = link;
    this.#connection = new PageConnection(socket, { name, isUrgent, whyEnded, lost: 'MIGRATION_LOST' });
  }

  /** Sends a message, and bytes after it. @throws StasisError */
  send(message: Message, ...more: readonly Uint8Array[]): void {
    const text = encodeText(JSON.stringify(message));
    const head = new Uint8Array(4 + text.length);
    new DataView(head.buffer).setUint32(0, text.length, true);
    head.set(text, 4);
    for (const bytes of [head, ...more]) {
      if (bytes.length === 0) continue;
      using pinned = new PinnedBuffer(bytes as Uint8Array<ArrayBuffer>);
      this.#connection.gather(pinned.address as LocalAddress, bytes.length);
      this.#connection.flush(false);
    }
  }

  /** Receives a message of one of these types. @throws StasisError also for what the other side says has failed */
  receive<T extends Message['type']>(...types: readonly T[]): Extract<Message, { readonly type: T }> {
    const length = new DataView(this.bytes(4).buffer).getUint32(0, true);
    if (length > LONGEST) throw this.#strange(`a message of ${length} bytes`);
    let message: Message;
    try {
      message = JSON.parse(decodeText(this.bytes(length))) as Message; // its type is looked at, and its fields as used
    } catch {
      throw this.#strange('something that is no message');
    }
    if (message.type === 'failed' && !types.some((type) => type === 'failed'))
      throw failureError(message.failure, this.link.name);
    if (types.some((type) => type === message.type)) return message as Extract<Message, { readonly type: T }>;
    throw this.#strange(`a message "${message.type}" where none is expected`);
  }

  /** Receives bytes. @throws StasisError */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    if (length === 0) return bytes;
    using pinned = new PinnedBuffer(bytes);
    this.#connection.receive(pinned);
    return bytes;
  }

  /** An error of the other side. */
  error(code: Parameters<PageConnection['error']>[0], reason: string, remedy?: string): StasisError {
    return this.#connection.error(code, reason, remedy);
  }

  #strange(what: string): StasisError {
    return this.error('MIGRATION_PROTOCOL', `it sends ${what}`, 'use the same version of Stasis on both machines');
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
    this.link[Symbol.dispose]();
  }
}
