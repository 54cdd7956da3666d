/** What a page server takes from its connection: messages, and the contents of pages after them. */
import type { LocalAddress, LocalFd } from '../../base/brands.ts';
import { F, O, SPLICE_F } from '../../kernel/constants/files.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { arenaAddress, arenaView, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import type { PageConnection } from '../../memory/page-server/connection.ts';
import { getMessage, MESSAGE_SIZE, type PageMessage } from '../../memory/page-server/protocol.ts';
import { writeFailed } from '../../memory/sinks/write-failed.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';

/** Bytes that are read ahead, so that many small runs of pages take few calls. */
const AHEAD = 128 << 10;
/** Contents of at least so many bytes are passed on inside of the kernel. */
const WORTH_A_SPLICE = 256 << 10;
/** Bytes that a pipe is to have room for, at most what the system allows everybody. */
const PIPE = 1 << 20;

export class Receiver implements Disposable {
  readonly #connection: PageConnection;
  readonly #buffer = new PinnedBuffer(new Uint8Array(AHEAD));
  readonly #view = new DataView(this.#buffer.view.buffer);
  /** What was received and not yet taken: from here to there. */
  #from = 0;
  #to = 0;
  #pipe: readonly [Fd, Fd] | undefined;

  constructor(connection: PageConnection) {
    this.#connection = connection;
  }

  /** The next message; undefined if the other side has hung up after the last one. @throws StasisError */
  message(): PageMessage | undefined {
    while (this.#to - this.#from < MESSAGE_SIZE) {
      if (!this.#more()) {
        if (this.#from === this.#to) return undefined;
        throw this.#lost('in the middle of a message');
      }
    }
    const message = getMessage(this.#view, this.#from);
    this.#from += MESSAGE_SIZE;
    return message;
  }

  /** Whether something has come that nobody expects. */
  get hasMore(): boolean {
    return this.#from < this.#to;
  }

  /** Receives more; returns whether there was any. */
  #more(): boolean {
    this.#buffer.view.copyWithin(0, this.#from, this.#to);
    this.#to -= this.#from;
    this.#from = 0;
    const got = this.#connection.receiveSome((this.#buffer.address + this.#to) as LocalAddress, AHEAD - this.#to);
    this.#to += got;
    return got > 0;
  }

  /** Appends contents of so many bytes to a file, whose path is for errors. @throws StasisError */
  append(file: LocalFd, path: string, length: number): void {
    for (let left = length; left > 0; ) {
      if (this.#from < this.#to) {
        const taken = Math.min(left, this.#to - this.#from);
        this.#write(file, path, taken);
        left -= taken;
      } else if (left >= WORTH_A_SPLICE) left -= this.#splice(file, path, left);
      else if (!this.#more()) throw this.#lost('in the middle of a page');
    }
  }

  #write(file: LocalFd, path: string, length: number): void {
    for (let done = 0; done < length; ) {
      const got = trySyscall('write', file, this.#buffer.address + this.#from, length - done);
      if (got < 0 && got !== -ERRNO.EINTR) throw writeFailed(path, got);
      if (got > 0) {
        this.#from += got;
        done += got;
      }
    }
  }

  /** Passes on what has come, at most `most` bytes and what the pipe holds; returns how much it was. */
  #splice(file: LocalFd, path: string, most: number): number {
    this.#pipe ??= makePipe();
    const [out, into] = this.#pipe;
    // A splice(2) from a unix socket must not wait, since it would wait for the pipe as well.
    this.#connection.awaitInput();
    const flags = SPLICE_F.MOVE | SPLICE_F.NONBLOCK;
    const got = trySyscall('splice', this.#connection.socket, 0, into.number, 0, Math.min(most, PIPE), flags);
    if (got === -ERRNO.EAGAIN || got === -ERRNO.EINTR) {
      requireUninterrupted();
      return 0;
    }
    if (got < 0) throw this.#connection.failed(got);
    if (got === 0) throw this.#lost('in the middle of a page');
    for (let done = 0; done < got; ) {
      const moved = trySyscall('splice', out.number, 0, file, 0, got - done, SPLICE_F.MOVE);
      if (moved <= 0 && moved !== -ERRNO.EINTR) throw writeFailed(path, moved);
      if (moved > 0) done += moved;
    }
    return got;
  }

  #lost(when: string): Error {
    return this.#connection.error('PAGE_SERVER_LOST', `it has hung up ${when}`);
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
    for (const end of this.#pipe ?? []) end[Symbol.dispose]();
  }
}

function makePipe(): readonly [Fd, Fd] {
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  const ends = [new Fd(arenaView.getInt32(0, true)), new Fd(arenaView.getInt32(4, true))] as const;
  // It works with any size.
  trySyscall('fcntl', ends[1].number, F.SETPIPE_SZ, PIPE);
  return ends;
}
