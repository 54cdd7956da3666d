/**
 * The socket to a client: AF_UNIX, SOCK_SEQPACKET. A packet is one message, without a length before it. What a client
 * sends besides bytes, such as descriptors, is not received: the kernel closes them.
 */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { F, FD_CLOEXEC } from '../kernel/constants/files.ts';
import { AF, MSG, SO, SOCK } from '../kernel/constants/sockets.ts';
import { encodeControl, type Ucred } from '../kernel/layouts/sockets.ts';
import { getNumberIfAny, peerCredentials, trySendMessage } from '../kernel/sockets.ts';
import { arenaAddress, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';

/** The longest message that is read, in bytes. Options of the largest containers take some ten thousand. */
const LONGEST = 1 << 20;

/** The connection to one client. */
export class Channel implements Disposable {
  readonly #socket: Fd;
  /** Whoever has made the connection, as the kernel has recorded it then. */
  readonly peer: Ucred;

  /**
   * Takes over a descriptor, which must be a connected socket of the right kind. It is closed when another program is
   * executed, so that no action script has it.
   *
   * @throws StasisError (usage) for any other descriptor
   */
  constructor(fd: number) {
    const local = fd as LocalFd; // whatever it is, it is a number of ours
    const isRight = getNumberIfAny(local, SO.DOMAIN) === AF.UNIX && getNumberIfAny(local, SO.TYPE) === SOCK.SEQPACKET;
    if (!isRight) {
      throw new StasisError({
        kind: 'usage',
        resource: `descriptor ${fd}`,
        reason: 'it is no unix socket of type SOCK_SEQPACKET',
        remedy: 'swrk is for programs: they make a pair of such sockets and name the end that they leave open',
      });
    }
    this.#socket = new Fd(local);
    syscall('fcntl', local, F.SETFD, FD_CLOEXEC);
    this.peer = peerCredentials(local);
  }

  /** The socket itself. */
  get fd(): LocalFd {
    return this.#socket.number;
  }

  /**
   * Waits for the next message; undefined if the client has hung up.
   *
   * @throws StasisError (usage) for one that is too long; InterruptedError when a signal asks Stasis to end
   */
  receive(): Uint8Array | undefined {
    // With MSG_TRUNC the kernel tells the real length of a packet, however little room there is.
    const length = this.#receive(arenaAddress, 0, MSG.PEEK | MSG.TRUNC);
    if (length === 0) return undefined;
    if (length > LONGEST) {
      this.#receive(arenaAddress, 0, 0); // so that the next one is read
      throw new StasisError({ kind: 'usage', reason: `a message of ${length} bytes; the most are ${LONGEST}` });
    }
    const bytes = new Uint8Array(length);
    const got = this.#receive(bytes, length, 0);
    return got === 0 ? undefined : bytes.subarray(0, got);
  }

  #receive(into: number | Uint8Array, length: number, flags: number): number {
    for (;;) {
      const got = trySyscall('recvfrom', this.fd, into, length, flags, 0, 0);
      if (got >= 0) return got;
      if (got === -ERRNO.ECONNRESET) return 0;
      if (got !== -ERRNO.EINTR) throw new SyscallError('recvfrom', -got, { resource: 'the client' });
      requireUninterrupted();
    }
  }

  /** Sends a message, with copies of descriptors of ours. @throws StasisError (gone) if the client has hung up */
  send(bytes: Uint8Array, descriptors: readonly LocalFd[] = []): void {
    for (;;) {
      const sent = trySendMessage(this.fd, bytes, encodeControl(descriptors), MSG.NOSIGNAL);
      if (sent >= 0) return;
      if (sent === -ERRNO.EPIPE || sent === -ERRNO.ECONNRESET) throw clientGone();
      if (sent !== -ERRNO.EINTR) throw new SyscallError('sendmsg', -sent, { resource: 'the client' });
      requireUninterrupted();
    }
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** The error that nobody is there any more to answer, or to be answered. */
export function clientGone(): StasisError {
  return new StasisError({ kind: 'gone', reason: 'the client of the RPC has hung up' });
}
