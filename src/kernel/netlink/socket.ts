/** A netlink socket: questions to the kernel, and its answers. */
import { StasisError } from '../../base/errors.ts';
import { AF, MSG, SOCK } from '../constants/sockets.ts';
import { describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../syscall.ts';
import { decodeMessages, encodeMessage, errorOf, type NetlinkMessage, NLM_F, NLMSG } from './message.ts';

/** The kernel fills datagrams of a long list up to the room it is given, at most this (`sk->max_recvmsg_len`). */
const ROOM = 32 * 1024;
/** How often a list is asked for that changes while it is read. */
const PATIENCE = 10;

/** What the kernel answered to a request it did not grant. */
export class NetlinkError extends StasisError {
  /** Positive. */
  readonly errno: number;

  constructor(errno: number, what: string) {
    super({ kind: 'kernel', resource: what, reason: `netlink: ${describeErrno(errno)}` });
    this.name = 'NetlinkError';
    this.errno = errno;
  }
}

export class NetlinkSocket implements Disposable {
  readonly #fd: Fd;
  readonly #what: string;
  #sequence = 0;

  /** `protocol` is one of NETLINK_*, `what` names it in errors. @throws SyscallError */
  constructor(protocol: number, what: string) {
    this.#fd = new Fd(syscall('socket', AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, protocol));
    this.#what = what;
  }

  /** One request, acknowledged; answers what the kernel sent besides. @throws NetlinkError */
  request(type: number, payload: Uint8Array, flags = 0): NetlinkMessage[] {
    return this.#ask(type, payload, flags | NLM_F.REQUEST | NLM_F.ACK).messages;
  }

  /**
   * A list of everything there is. One that changed meanwhile is asked for again; what does not come to rest is taken as
   * it is: entries may be missing, or be there twice.
   * @throws NetlinkError
   */
  list(type: number, payload: Uint8Array): NetlinkMessage[] {
    for (let turn = 1; ; turn++) {
      const { messages, interrupted } = this.#ask(type, payload, NLM_F.REQUEST | NLM_F.DUMP);
      if (!interrupted || turn === PATIENCE) return messages;
    }
  }

  #ask(type: number, payload: Uint8Array, flags: number): { messages: NetlinkMessage[]; interrupted: boolean } {
    const sequence = ++this.#sequence;
    const request = encodeMessage({ type, flags, sequence, payload });
    syscall('sendto', this.#fd.number, request, request.length, 0, 0, 0);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of decodeMessages(this.#receive())) {
        if (message.sequence !== sequence) continue; // of an earlier request that failed halfway
        interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
        if (message.type === NLMSG.ERROR && errorOf(message) !== 0) {
          throw new NetlinkError(errorOf(message), this.#what);
        }
        // The end of a list has a result too.
        if (message.type === NLMSG.DONE && message.payload.length >= 4 && errorOf(message) > 0) {
          throw new NetlinkError(errorOf(message), this.#what);
        }
        if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) return { messages, interrupted };
        if (message.type !== NLMSG.NOOP) messages.push(message);
      }
    }
  }

  /** The next datagram, in bytes of its own, since messages are views of it. */
  #receive(): Uint8Array {
    for (let room = ROOM; ; ) {
      const into = new Uint8Array(room);
      // With MSG_TRUNC the whole length is told; looked at first, so that nothing is cut off.
      const length = trySyscall('recvfrom', this.#fd.number, into, room, MSG.PEEK | MSG.TRUNC, 0, 0);
      if (length === -ERRNO.EINTR) continue;
      if (length < 0) throw new SyscallError('recvfrom', -length, { resource: this.#what });
      if (length > room) {
        room = length;
        continue;
      }
      const got = syscall('recvfrom', this.#fd.number, into, room, 0, 0, 0);
      return into.subarray(0, got);
    }
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}
