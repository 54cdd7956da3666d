/** A netlink socket for requests to the kernel. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';
import { F } from '../constants/files.ts';
import { NETLINK_OPTION, NLM_F, NLMSG, NLMSGERR_ATTR_MSG, SOL_NETLINK } from '../constants/netlink.ts';
import { AF, MSG, SO, SOCK } from '../constants/sockets.ts';
import { Nlmsghdr } from '../layouts/netlink.ts';
import { trySetNumber } from '../sockets.ts';
import { describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../syscall.ts';
import { decodeAttributes } from './attributes.ts';
import { decodeMessages, encodeMessage, errorOf, type NetlinkMessage } from './message.ts';

/**
 * Size of the receive buffer in bytes. The kernel fills the datagrams of a long list up to the size of the buffer it is
 * given, at most up to this (`sk->max_recvmsg_len`).
 */
const ROOM = 32 * 1024;

/** What datagrams are received into. */
let buffer = new Uint8Array(ROOM);
/** How often a list that changes while it is read is requested. */
const PATIENCE = 10;

/** The kernel refused a request. */
export class NetlinkError extends StasisError {
  /** Positive. */
  readonly errno: number;

  /** `why`: what the kernel says of it, if it says anything. */
  constructor(errno: number, what: string, why?: string) {
    const reason = why === undefined ? '' : ` (${why})`;
    super({ kind: 'kernel', resource: what, reason: `netlink: ${describeErrno(errno)}${reason}` });
    this.name = 'NetlinkError';
    this.errno = errno;
  }
}

export class NetlinkSocket implements Disposable {
  readonly #fd: Fd;
  readonly #what: string;
  #sequence = 0;

  /**
   * A new socket of a protocol (NETLINK_*), or one that there is already and that is closed with this object. `what`
   * names it in errors. @throws SyscallError
   */
  constructor(socket: number | Fd, what: string) {
    this.#fd =
      typeof socket === 'number' ? new Fd(syscall('socket', AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, socket)) : socket;
    this.#what = what;
    // The kernel then says in words why it refuses something, in place of repeating the request (since 4.12).
    trySetNumber(this.#fd.number, NETLINK_OPTION.EXT_ACK, 1, SOL_NETLINK);
    trySetNumber(this.#fd.number, NETLINK_OPTION.CAP_ACK, 1, SOL_NETLINK);
  }

  /**
   * Another descriptor of the socket, `least` or above; undefined if the limit of descriptors is lower. The kernel
   * closes the descriptors of a process that is killed in the order of their numbers (`close_files()`).
   */
  duplicateAbove(least: number): Fd | undefined {
    const number = trySyscall('fcntl', this.#fd.number, F.DUPFD_CLOEXEC, least);
    return number < 0 ? undefined : new Fd(number);
  }

  /**
   * Sends one request and waits for its acknowledgement. Returns the messages that came before that. @throws
   * NetlinkError
   */
  request(type: number, payload: Uint8Array, flags = 0): NetlinkMessage[] {
    return this.#ask(type, payload, flags | NLM_F.REQUEST | NLM_F.ACK).messages;
  }

  /**
   * Requests a list of all objects (NLM_F_DUMP), again if it changed meanwhile. If it changes every time, the last list
   * is returned: entries may be missing or occur twice.
   * @throws NetlinkError
   */
  list(type: number, payload: Uint8Array): NetlinkMessage[] {
    for (let turn = 1; ; turn++) {
      const { messages, interrupted } = this.#ask(type, payload, NLM_F.REQUEST | NLM_F.DUMP);
      if (!interrupted || turn === PATIENCE) return messages;
    }
  }

  /**
   * Sends messages as one datagram, which the kernel handles before sendto(2) returns. If it refuses any of them with
   * an error, that is thrown; a protocol with transactions has then done nothing.
   * @throws NetlinkError
   */
  transact(messages: readonly Omit<NetlinkMessage, 'sequence'>[]): void {
    const encoded = messages.map((message) => encodeMessage({ ...message, sequence: ++this.#sequence }));
    const datagram = joined(encoded);
    // The limits of net.core do not bind this option, but it takes CAP_NET_ADMIN, as do the requests.
    trySetNumber(this.#fd.number, SO.SNDBUFFORCE, 2 * datagram.length + ROOM);
    syscall('sendto', this.#fd.number, datagram, datagram.length, 0, 0, 0);
    for (;;) {
      const into = new Uint8Array(ROOM);
      const got = trySyscall('recvfrom', this.#fd.number, into, ROOM, MSG.DONTWAIT, 0, 0);
      if (got === -ERRNO.EAGAIN) return;
      if (got === -ERRNO.EINTR) continue;
      if (got < 0) throw new SyscallError('recvfrom', -got, { resource: this.#what });
      throwError(into.subarray(0, got), this.#what);
    }
  }

  /** The descriptor, for a process that is to keep the socket open. */
  get descriptor(): LocalFd {
    return this.#fd.number;
  }

  #ask(type: number, payload: Uint8Array, flags: number): { messages: NetlinkMessage[]; interrupted: boolean } {
    const sequence = ++this.#sequence;
    const request = encodeMessage({ type, flags, sequence, payload });
    syscall('sendto', this.#fd.number, request, request.length, 0, 0, 0);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of decodeMessages(this.#receive())) {
        if (message.sequence !== sequence) continue; // belongs to an earlier request that failed halfway
        interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
        if (message.type === NLMSG.ERROR && errorOf(message) !== 0) {
          throw new NetlinkError(errorOf(message), this.#what, explanationOf(message));
        }
        // The message that ends a list carries a result too.
        if (message.type === NLMSG.DONE && message.payload.length >= 4 && errorOf(message) > 0) {
          throw new NetlinkError(errorOf(message), this.#what);
        }
        if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) return { messages, interrupted };
        if (message.type !== NLMSG.NOOP) messages.push(message);
      }
    }
  }

  /** Receives the next datagram into a new buffer, since messages are views of it. */
  #receive(): Uint8Array {
    for (;;) {
      // With MSG_PEEK and MSG_TRUNC the kernel returns the full length without consuming the datagram, so the buffer
      // can be enlarged first.
      const length = trySyscall('recvfrom', this.#fd.number, buffer, buffer.length, MSG.PEEK | MSG.TRUNC, 0, 0);
      if (length === -ERRNO.EINTR) continue;
      if (length < 0) throw new SyscallError('recvfrom', -length, { resource: this.#what });
      if (length > buffer.length) {
        buffer = new Uint8Array(length);
        continue;
      }
      const datagram = buffer.slice(0, length);
      // What was looked at is taken; the kernel drops what has no room.
      syscall('recvfrom', this.#fd.number, buffer, 0, 0, 0, 0);
      return datagram;
    }
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** What the kernel says about an error: an attribute behind the errno and the header of the request. */
function explanationOf({ flags, payload }: NetlinkMessage): string | undefined {
  if ((flags & NLM_F.ACK_TLVS) === 0) return undefined;
  const text = decodeAttributes(payload.subarray(4 + Nlmsghdr.size)).get(NLMSGERR_ATTR_MSG);
  return text && decodeText(text.subarray(0, -1));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The answer to a long request repeats it and may be cut off, so that only the first message of a datagram is read. */
function throwError(datagram: Uint8Array, what: string): void {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const isError = datagram.length >= Nlmsghdr.size + 4 && Nlmsghdr.decode(datagram).type === NLMSG.ERROR;
  const errno = isError ? 0 - view.getInt32(Nlmsghdr.size, true) : 0;
  if (errno !== 0) throw new NetlinkError(errno, what);
}
