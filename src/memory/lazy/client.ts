/** The side of a restore: gives the userfaultfds of its tasks to a lazy-pages daemon. */
import type { LocalFd, SavedPid } from '../../base/brands.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { StasisError } from '../../base/errors.ts';
import { logInfo } from '../../base/log.ts';
import { cstring } from '../../base/text.ts';
import type { LazyDelivery } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { AF, MSG, SIOCOUTQ, SOCK } from '../../kernel/constants/sockets.ts';
import { openFile } from '../../kernel/files.ts';
import { encodeControl, encodeUnixAddress } from '../../kernel/layouts/sockets.ts';
import { nap } from '../../kernel/nap.ts';
import { hangUpsAndErrors } from '../../kernel/poll.ts';
import { latin1 } from '../../kernel/proc/common.ts';
import { trySendMessage } from '../../kernel/sockets.ts';
import { arena, arenaAddress, arenaView, describeErrno, ERRNO, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { encodeWord, LAZY_SOCKET, RESTORED } from './wire.ts';

/** Milliseconds to wait until the daemon has taken everything. */
const PATIENCE = 60_000;
/** Nanoseconds between two looks. */
const PAUSE = 500_000;

export class LazyPagesClient implements LazyDelivery, Disposable {
  readonly #socket: Fd;
  readonly #told = new Set<number>();

  /** Connects with the daemon that listens in a directory. @throws StasisError */
  constructor(workDir: string) {
    this.#socket = connectIn(workDir);
    logInfo('connected with the lazy-pages daemon');
  }

  hand(pid: SavedPid, userfault: LocalFd): void {
    this.#told.add(pid);
    this.#send(encodeWord(pid));
    this.#send(new Uint8Array(1), encodeControl([userfault]));
  }

  /**
   * Says of the other tasks that there is nothing to bring, and waits until the daemon has taken all. `run` is the dump
   * that the images are of. @throws StasisError if it does not, or has other images
   */
  settle(all: Iterable<number>, run: string | undefined): void {
    for (const pid of all) if (!this.#told.has(pid)) this.#send(encodeWord(-pid));
    const began = performance.now();
    while (this.#untaken() > 0) {
      requireUninterrupted();
      this.#requireThere();
      if (performance.now() - began > PATIENCE) throw lost(`it does not answer (${PATIENCE / 1000} s)`);
      nap(PAUSE);
    }
    this.#requireThere();
    const got = trySyscall('recvfrom', this.#socket.number, arenaAddress, 256, MSG.DONTWAIT, 0, 0);
    const theirs = got > 0 ? latin1(arena.subarray(0, got)).trimEnd() : '';
    if (theirs === '' || run === undefined || theirs === run) return;
    throw failure('LAZY_PAGES_OTHER_IMAGES', 'its images are of another dump', 'start it with the same images (-D)');
  }

  /** Says that the tasks are about to run. @throws StasisError if the daemon is gone */
  finish(): void {
    this.#requireThere();
    this.#send(encodeWord(RESTORED));
  }

  /** How many bytes of what was sent nobody has received yet. */
  #untaken(): number {
    syscall('ioctl', this.#socket.number, SIOCOUTQ, arenaAddress);
    return arenaView.getInt32(0, true);
  }

  #requireThere(): void {
    if (hangUpsAndErrors(this.#socket.number) !== 0) throw lost('it has ended; its log says why');
  }

  #send(bytes: Uint8Array, control: Uint8Array = new Uint8Array()): void {
    for (;;) {
      const sent = trySendMessage(this.#socket.number, bytes, control, MSG.NOSIGNAL);
      if (sent >= 0) return;
      requireUninterrupted();
      if (sent !== -ERRNO.EINTR) throw lost(`nothing can be sent: ${describeErrno(sent)}`);
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** The address of the socket in a directory that is open, whose own path may be longer than an address has room for. */
export function socketAddressIn(directory: Fd): Uint8Array {
  return encodeUnixAddress(cstring(`/proc/self/fd/${directory.number}/${LAZY_SOCKET}`));
}

function connectIn(workDir: string): Fd {
  using directory = openFile(workDir, O.PATH | O.DIRECTORY);
  const socket = new Fd(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
  const address = socketAddressIn(directory);
  const result = trySyscall('connect', socket.number, address, address.length);
  if (result >= 0) return socket;
  socket[Symbol.dispose]();
  throw new StasisError({
    kind: 'conflict',
    code: 'LAZY_PAGES_UNREACHABLE',
    resource: `${workDir}/${LAZY_SOCKET}`,
    reason: `no lazy-pages daemon listens there: ${describeErrno(result)}`,
    remedy: 'start it first, with the same images and work directory: stasis lazy-pages -D DIR',
  });
}

function lost(reason: string): StasisError {
  return failure('LAZY_PAGES_LOST', reason);
}

function failure(code: ErrorCode, reason: string, remedy?: string): StasisError {
  return new StasisError({ kind: 'io', code, resource: 'the lazy-pages daemon', reason, remedy });
}
