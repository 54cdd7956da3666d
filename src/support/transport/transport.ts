/**
 * What is between the engine and the other end of a connection. The engine is synchronous and wants a socket on which
 * it can call sendmsg(2), recv(2) and poll(2). Where the other end speaks something else (TLS, the two pipes of ssh),
 * a process of ours, the relay, stands in between: it has one end of a pair of sockets, the engine has the other one.
 */
import type { LocalFd } from '../../base/brands.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';
import { O, POLL } from '../../kernel/constants/files.ts';
import { AF, SHUT, SOCK } from '../../kernel/constants/sockets.ts';
import { waitFor } from '../../kernel/poll.ts';
import { socketPair } from '../../kernel/sockets.ts';
import { arenaAddress, arenaView, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { Workers } from '../workers.ts';

/** The word that starts a relay. */
export const RELAY = 'relay';

/** Milliseconds in which a relay has to be ready: the other end has shaken hands by then. */
const PATIENCE = 30_000;

/** What a relay reports, one JSON object a line. */
export type RelayReport =
  | { readonly ready: true; readonly peer?: string | undefined }
  | { readonly code: ErrorCode; readonly resource?: string; readonly reason: string; readonly remedy?: string };

/** A connection through a relay. The relay ends when this is disposed of, after it has sent everything. */
export class Transport implements Disposable {
  readonly #plain: Fd;
  readonly #status: Fd;
  readonly #name: string;
  #said = '';
  #error: StasisError | undefined;
  /** Whom the certificate of the other end names. */
  peer: string | undefined;

  private constructor(plain: Fd, status: Fd, name: string) {
    this.#plain = plain;
    this.#status = status;
    this.#name = name;
  }

  /**
   * Starts a relay and waits until it is ready. `words` say what it is to do; `others` are the descriptors it needs for
   * that. `name` is the other end, for errors.
   *
   * @throws StasisError what the relay reports, or `PEER_UNREACHABLE` if it does not get ready
   */
  static start(words: readonly string[], others: readonly LocalFd[], name: string): Transport {
    const [plain, theirs] = socketPair(AF.UNIX, SOCK.STREAM);
    using _ = theirs;
    syscall('pipe2', arenaAddress, O.CLOEXEC | O.NONBLOCK);
    const status = new Fd(arenaView.getInt32(0, true));
    using reports = new Fd(arenaView.getInt32(4, true));
    const transport = new Transport(plain, status, name);
    try {
      using workers = new Workers('waited for');
      workers.start(
        [RELAY, `${theirs.number}`, `${reports.number}`, ...words],
        theirs.number,
        reports.number,
        ...others,
      );
    } catch (error) {
      transport[Symbol.dispose]();
      throw error;
    }
    theirs[Symbol.dispose]();
    reports[Symbol.dispose]();
    try {
      transport.#awaitReady();
      return transport;
    } catch (error) {
      transport[Symbol.dispose]();
      throw error;
    }
  }

  /** The engine's end. */
  get socket(): LocalFd {
    return this.#plain.number;
  }

  #awaitReady(): void {
    const until = performance.now() + PATIENCE;
    while (this.peer === undefined) {
      const left = Math.ceil(until - performance.now());
      if (left <= 0 || !waitFor(this.#status.number, POLL.IN, left)) {
        throw this.#failure('PEER_UNREACHABLE', `it has not shaken hands in ${PATIENCE / 1000} seconds`);
      }
      requireUninterrupted();
      const isEnd = this.#read();
      if (this.#error) throw this.#error;
      if (isEnd && this.peer === undefined) {
        throw this.#failure('PEER_UNREACHABLE', 'the process between the two ends has ended');
      }
    }
  }

  /** Why the relay has ended the connection, if it has said so. */
  whyEnded(): StasisError | undefined {
    this.#read();
    return this.#error;
  }

  /** Takes what the relay has said; returns whether it will say no more. */
  #read(): boolean {
    const piece = new Uint8Array(4096);
    for (;;) {
      const got = trySyscall('read', this.#status.number, piece, piece.length);
      if (got === -ERRNO.EINTR) continue;
      if (got <= 0) return got === 0;
      this.#said += decodeText(piece.subarray(0, got));
      for (let end = this.#said.indexOf('\n'); end >= 0; end = this.#said.indexOf('\n')) {
        this.#take(JSON.parse(this.#said.slice(0, end)) as RelayReport); // written by this program
        this.#said = this.#said.slice(end + 1);
      }
    }
  }

  #take(report: RelayReport): void {
    if ('ready' in report) this.peer = report.peer ?? '';
    else this.#error ??= this.#failure(report.code, report.reason, report.remedy, report.resource);
  }

  #failure(code: ErrorCode, reason: string, remedy?: string, resource = this.#name): StasisError {
    return new StasisError({ kind: 'io', code, resource, reason, remedy });
  }

  [Symbol.dispose](): void {
    // Whoever has inherited a copy of the descriptor must not keep the connection.
    trySyscall('shutdown', this.#plain.number, SHUT.RDWR);
    this.#plain[Symbol.dispose]();
    this.#status[Symbol.dispose]();
  }
}
