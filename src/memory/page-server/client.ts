/** The side of a page server that sends: what a dump does with its pages instead of writing them into its images. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
import type { PageRange } from '../../contract/contract.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { Images } from '../../images/kinds.ts';
import { sentPagemapName } from '../../images/own-files.ts';
import { type PageRun, writePagemap } from '../../images/pagemap.ts';
import { SHUT, SO, SOCK } from '../../kernel/constants/sockets.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { setTime } from '../../kernel/sockets.ts';
import { describeErrno, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import type { TlsOptions } from '../../support/transport/tls.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { PageServerSink } from '../sinks/page-server.ts';
import type { PagesElsewhere, PagesOf, SinkElsewhere } from '../sinks/sink.ts';
import { PageConnection } from './connection.ts';
import { MESSAGE_SIZE, PS, putMessage, targetId } from './protocol.ts';

/** Where a page server is: an address (`struct sockaddr`, and how people write it), or a connection to it. */
export type PageServerPlace = (
  | { readonly sockaddr: Uint8Array; readonly name: string }
  | { readonly descriptor: number; readonly name?: string }
) & {
  /** TLS is spoken with it. */
  readonly tls?: TlsOptions | undefined;
};

const TLS = new Part(
  () => require('../../support/transport/tls.ts') as typeof import('../../support/transport/tls.ts'),
);

/** Seconds to wait for a page server to accept. */
const PATIENCE = 20n;

export class PageServerClient implements PagesElsewhere, Disposable {
  readonly #connection: PageConnection;
  /** Undefined for a connection that others go on using. */
  readonly #own: Disposable | undefined;
  readonly #message = new PinnedBuffer(new Uint8Array(MESSAGE_SIZE));
  #state: 'unused' | 'in use' | 'finished' = 'unused';

  /** Connects. @throws StasisError */
  constructor(place: PageServerPlace) {
    const { socket, own, name, whyEnded } = connectWith(place);
    this.#own = own;
    this.#connection = new PageConnection(socket, { name, isUrgent: true, whyEnded });
  }

  open(
    images: ImageSetWriter,
    of: PagesOf,
    inherited: readonly PageRange[],
    lazy: readonly PageRange[],
  ): SinkElsewhere {
    const target = targetId({ of: of.kind === Images.pagemap ? 'task' : 'segment', id: BigInt(of.id) });
    this.#state = 'in use';
    this.#send(PS.OPEN2, target);
    using answer = new PinnedBuffer(new Uint8Array(1));
    this.#connection.receive(answer);
    const [hasParent = 0] = answer.view;
    if (hasParent > 1)
      throw this.#connection.error('PAGE_SERVER_PROTOCOL', `it answers ${hasParent} to an open`, OTHER);
    const keep = (runs: readonly PageRun[]): void => {
      images.put(sentPagemapName(of.kind, of.id), writePagemap({ pagesId: 0, runs }));
    };
    return new PageServerSink(this.#connection, target, hasParent === 1, { inherited, lazy }, keep);
  }

  /** Has everything stored that was sent. @throws StasisError if it was not */
  finish(): void {
    // A connection of others stays open, so that the server cannot tell by it that this was all.
    this.#send(this.#own ? PS.CLOSE : PS.FORCE_CLOSE, 0n);
    using answer = new PinnedBuffer(new Uint8Array(4));
    this.#connection.receive(answer);
    const status = new DataView(answer.view.buffer).getInt32(0, true);
    if (status !== 0)
      throw this.#connection.error('PAGE_SERVER_FAILED', `it could not store the pages (${status})`, LOG);
    this.#state = 'finished';
  }

  #send(command: number, target: bigint): void {
    putMessage(new DataView(this.#message.view.buffer), 0, { command, target });
    this.#connection.gather(this.#message.address, MESSAGE_SIZE);
    this.#connection.flush(false);
  }

  [Symbol.dispose](): void {
    // Nobody knows any more where in a message the connection is, so it must not be used on.
    if (this.#state === 'in use') trySyscall('shutdown', this.#connection.socket, SHUT.RDWR);
    this.#connection[Symbol.dispose]();
    this.#message[Symbol.dispose]();
    this.#own?.[Symbol.dispose]();
  }
}

/** A connection with a page server; `own` is to be closed, and undefined for one that others go on using. */
export interface Connected {
  readonly socket: LocalFd;
  readonly own: Disposable | undefined;
  /** What it is called in errors. */
  readonly name: string;
  readonly whyEnded?: (() => StasisError | undefined) | undefined;
}

/** Connects. @throws StasisError */
export function connectWith(place: PageServerPlace): Connected {
  const name = `the page server at ${place.name ?? `descriptor ${(place as { readonly descriptor: number }).descriptor}`}`;
  const own = 'descriptor' in place ? undefined : connect(place.sockaddr, place.name);
  const socket = own?.number ?? given((place as { readonly descriptor: number }).descriptor);
  if (place.tls) return secured(socket, own, place.tls, name);
  logInfo(`connected with ${name}`);
  return { socket, own, name };
}

/** Speaks TLS on a connection, which the process that does so has from then on. */
function secured(socket: LocalFd, own: Fd | undefined, tls: TlsOptions, name: string): Connected {
  using _ = own;
  const transport = TLS.load().overTls(socket, 'client', tls, name);
  logInfo(`connected with ${name} by TLS, which is ${transport.peer}`);
  return { socket: transport.socket, own: transport, name, whyEnded: () => transport.whyEnded() };
}

const OTHER = 'a page server of CRIU up to 4.1 speaks another protocol';
const LOG = 'its log says why';

function given(descriptor: number): LocalFd {
  const socket = descriptor as LocalFd; // whatever it is, it is a number of ours
  if (PageConnection.isSocket(socket)) return socket;
  throw new StasisError({
    kind: 'usage',
    resource: `descriptor ${descriptor}`,
    reason: 'it is no socket, so no connection with a page server',
    remedy: 'leave a connected socket open under that number',
  });
}

function connect(sockaddr: Uint8Array, name: string): Fd {
  const family = new DataView(sockaddr.buffer, sockaddr.byteOffset).getUint16(0, true);
  const socket = new Fd(syscall('socket', family, SOCK.STREAM | SOCK.CLOEXEC, 0));
  try {
    // connect(2) heeds it as well.
    setTime(socket.number, SO.SNDTIMEO, { sec: PATIENCE, usec: 0n });
    const result = trySyscall('connect', socket.number, sockaddr, sockaddr.length);
    if (result >= 0) return socket;
    requireUninterrupted();
    throw unreachable(name, result);
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function unreachable(name: string, result: number): StasisError {
  const reason = result === -ERRNO.EINPROGRESS ? `no answer in ${PATIENCE} seconds` : describeErrno(result);
  return new StasisError({
    kind: 'io',
    code: 'PAGE_SERVER_UNREACHABLE',
    resource: `the page server at ${name}`,
    reason,
    remedy: 'start it first: stasis page-server --port PORT',
  });
}
