/** A connection between a dump and a page server: bytes, and who the other side is. */
import type { LocalAddress, LocalFd } from '../../base/brands.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import { POLL } from '../../kernel/constants/files.ts';
import { TCP } from '../../kernel/constants/inet.ts';
import { UIO_MAXIOV } from '../../kernel/constants/memory.ts';
import { IPPROTO, MSG, SO } from '../../kernel/constants/sockets.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { Msghdr } from '../../kernel/layouts/sockets.ts';
import { waitFor } from '../../kernel/poll.ts';
import { getNumberIfAny, trySetNumber } from '../../kernel/sockets.ts';
import { describeErrno, ERRNO, trySyscall } from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';

/**
 * Seconds in which the other side of a dump has to take or to answer something, since a tree stands still meanwhile. A
 * page server waits for as long as its client says nothing.
 */
const PATIENCE = 60;

/** How one side of a connection sees the other. */
export interface Peer {
  /** `the page server at 192.0.2.1:7000`. */
  readonly name: string;
  /** Whether somebody stands still for it. */
  readonly isUrgent: boolean;
  /** Asks whoever is in between why the connection has ended. */
  readonly whyEnded?: (() => StasisError | undefined) | undefined;
  /** The code of the error if it goes away (`PAGE_SERVER_LOST`). */
  readonly lost?: ErrorCode;
}

/** Sends and receives over a connected stream socket, of TCP or of the unix family, which it does not close. */
export class PageConnection implements Disposable {
  readonly socket: LocalFd;
  readonly #peer: Peer;
  readonly #header = new PinnedBuffer(new Uint8Array(Msghdr.size));
  /** Address and length of each piece that is to be sent. */
  readonly #pieces = new PinnedBuffer(new BigUint64Array(2 * UIO_MAXIOV));
  #count = 0;

  constructor(socket: LocalFd, peer: Peer) {
    this.socket = socket;
    this.#peer = peer;
    // An answer that is waited for must not wait itself for what was sent before (Nagle). Unix sockets never do that.
    trySetNumber(socket, TCP.NODELAY, 1, IPPROTO.TCP);
    // So that a peer whose machine is gone is noticed at last.
    trySetNumber(socket, SO.KEEPALIVE, 1);
  }

  /** Whether a descriptor can be one. */
  static isSocket(socket: LocalFd): boolean {
    return getNumberIfAny(socket, SO.TYPE) !== undefined;
  }

  /** Whether as much can be gathered as `pieces` need. */
  hasRoom(pieces: number): boolean {
    return this.#count + pieces <= UIO_MAXIOV;
  }

  /** Adds something of ours to what is sent next; it must not change until then. */
  gather(address: LocalAddress, length: number): void {
    const { view } = this.#pieces;
    const last = 2 * (this.#count - 1);
    if (this.#count > 0 && Number((view[last] as bigint) + (view[last + 1] as bigint)) === address) {
      view[last + 1] = (view[last + 1] as bigint) + BigInt(length);
      return;
    }
    view[2 * this.#count] = BigInt(address);
    view[2 * this.#count + 1] = BigInt(length);
    this.#count++;
  }

  /** Sends what was gathered. With `more` the kernel may wait for what follows. @throws StasisError */
  flush(more: boolean): void {
    const { view, address } = this.#pieces;
    const flags = MSG.NOSIGNAL | MSG.DONTWAIT | (more ? MSG.MORE : 0);
    for (let first = 0; first < this.#count; ) {
      Msghdr.encodeInto(this.#header.view, 0, {
        iov: BigInt(address + 16 * first),
        iovLength: BigInt(this.#count - first),
      });
      let sent = trySyscall('sendmsg', this.socket, this.#header.address, flags);
      if (sent < 0) this.#pause(sent, POLL.OUT, 'it takes nothing any more');
      for (; sent > 0 && first < this.#count; ) {
        const length = Number(view[2 * first + 1]);
        const taken = Math.min(length, sent);
        sent -= taken;
        view[2 * first] = (view[2 * first] as bigint) + BigInt(taken);
        view[2 * first + 1] = BigInt(length - taken);
        if (taken === length) first++;
      }
    }
    this.#count = 0;
  }

  /** Receives something, at most `length` bytes; 0 at the end. @throws StasisError */
  receiveSome(address: LocalAddress, length: number): number {
    for (;;) {
      const got = trySyscall('recvfrom', this.socket, address, length, MSG.DONTWAIT, 0, 0);
      if (got >= 0) return got;
      this.#pause(got, POLL.IN, 'it does not answer');
    }
  }

  /** Waits until something can be received, or the other side has hung up. @throws StasisError */
  awaitInput(): void {
    this.#pause(-ERRNO.EAGAIN, POLL.IN, 'it says nothing any more');
  }

  /** Receives as many bytes as the buffer has. @throws StasisError, also if there are no more */
  receive(into: PinnedBuffer): void {
    for (let done = 0; done < into.view.byteLength; ) {
      const got = this.receiveSome((into.address + done) as LocalAddress, into.view.byteLength - done);
      if (got === 0) throw this.error('PAGE_SERVER_LOST', 'it has hung up');
      done += got;
    }
  }

  /** Waits after a call that would have waited; other results are errors. */
  #pause(result: number, events: number, patience: string): void {
    requireUninterrupted();
    if (result === -ERRNO.EINTR) return;
    if (result !== -ERRNO.EAGAIN) throw this.failed(result);
    if (!waitFor(this.socket, events, this.#peer.isUrgent ? PATIENCE * 1000 : -1)) {
      requireUninterrupted();
      throw this.error('PAGE_SERVER_LOST', `${patience} (${PATIENCE} s)`);
    }
  }

  /** The error of a call on the socket that failed. */
  failed(result: number): StasisError {
    const isGone = result === -ERRNO.EPIPE || result === -ERRNO.ECONNRESET;
    return this.error(
      'PAGE_SERVER_LOST',
      isGone ? 'it has hung up' : `the connection failed: ${describeErrno(result)}`,
    );
  }

  /** An error of the other side. */
  error(code: ErrorCode, reason: string, remedy?: string): StasisError {
    const told = code === 'PAGE_SERVER_LOST' ? this.#peer.whyEnded?.() : undefined;
    if (told) return told;
    const { lost = 'PAGE_SERVER_LOST' } = this.#peer;
    if (code === 'PAGE_SERVER_LOST')
      return new StasisError({ kind: 'io', code: lost, resource: this.#peer.name, reason, remedy });
    return new StasisError({ kind: 'io', code, resource: this.#peer.name, reason, remedy });
  }

  [Symbol.dispose](): void {
    this.#header[Symbol.dispose]();
    this.#pieces[Symbol.dispose]();
  }
}
