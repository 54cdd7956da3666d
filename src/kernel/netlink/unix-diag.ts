/** The list of unix sockets from the kernel (include/uapi/linux/unix_diag.h, net/unix/diag.c). */
import { StasisError } from '../../base/errors.ts';
import {
  INET_DIAG_NOCOOKIE,
  NETLINK,
  NLA_TYPE_MASK,
  UDIAG_SHOW as SHOW,
  SOCK_DIAG_BY_FAMILY,
  UNIX_DIAG,
} from '../constants/netlink.ts';
import { AF, TCP_STATE } from '../constants/sockets.ts';
import { Nlattr, UnixDiagMsg, UnixDiagReq } from '../layouts/netlink.ts';
import { ERRNO } from '../syscall.ts';
import { u32sOf } from './attributes.ts';
import { align4 } from './message.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

/** A unix socket. */
export interface UnixSocket {
  readonly ino: number;
  /** SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET. */
  readonly type: number;
  /** TCP_ESTABLISHED, TCP_CLOSE or TCP_LISTEN. */
  readonly state: number;
  /** The name it is bound to: a path, or NUL and an abstract name; undefined if it is not bound. */
  readonly name: Uint8Array | undefined;
  /** The socket file behind the name; undefined for an abstract name and for none. */
  readonly file: { readonly ino: number; readonly dev: number } | undefined;
  /**
   * Inode number of the socket it is connected to; 0 if that socket is closed or not accepted yet; undefined if it is
   * not connected.
   */
  readonly peer: number | undefined;
  /** Inode numbers of the connections that wait to be accepted, of a listening socket. */
  readonly pending: readonly number[];
  /**
   * Bytes that wait to be read; for SOCK_DGRAM, those of the first message; for a listening socket, the number of
   * pending connections.
   */
  readonly receiveQueue: number;
  /** Bytes of memory used by messages it sent that are not read yet; for a listening socket, the backlog. */
  readonly sendQueue: number;
  /** Directions that are shut down: 1 receiving, 2 sending. */
  readonly shutdown: number;
}

/** What is asked of each socket. */
const SHOWN = SHOW.NAME | SHOW.VFS | SHOW.PEER | SHOW.ICONS | SHOW.RQLEN;
const ALL_STATES = 0xffff_ffff;
/** Where `struct unix_diag_msg` has the inode. */
const INO = UnixDiagMsg.offsets.ino;

/** A list of unix sockets. Each is decoded when it is asked for: a machine may have thousands. */
export class UnixSockets {
  readonly #payloads: ReadonlyMap<number, Uint8Array>;
  readonly #decoded = new Map<number, UnixSocket>();

  constructor(payloads: Iterable<Uint8Array> = []) {
    const inodeOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(INO, true);
    this.#payloads = new Map(Array.from(payloads, (payload) => [inodeOf(payload), payload]));
  }

  get(ino: number): UnixSocket | undefined {
    const payload = this.#payloads.get(ino);
    if (!payload) return undefined;
    let socket = this.#decoded.get(ino);
    if (!socket) {
      socket = decodeUnixSocket(payload);
      this.#decoded.set(ino, socket);
    }
    return socket;
  }

  /** All of them. */
  *values(): Iterable<UnixSocket> {
    for (const ino of this.#payloads.keys()) yield this.get(ino) as UnixSocket; // it has each of these
  }
}

/** The unix sockets of our network namespace; all, or the listening ones. @throws StasisError */
export function unixSockets(which: 'all' | 'listening' = 'all'): UnixSockets {
  const states = which === 'all' ? ALL_STATES : 1 << TCP_STATE.LISTEN;
  const request = UnixDiagReq.encode({ family: AF.UNIX, states, show: SHOWN });
  const messages = orExplain(() => {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'unix sockets');
    return netlink.list(SOCK_DIAG_BY_FAMILY, request);
  });
  return new UnixSockets(messages.map(({ payload }) => payload));
}

/**
 * The unix socket of our network namespace that has an inode number; undefined if there is none. The kernel looks
 * through all of them for it (`unix_lookup_by_ino()`).
 * @throws StasisError
 */
export function unixSocketWith(ino: number): UnixSocket | undefined {
  const request = UnixDiagReq.encode({
    family: AF.UNIX,
    states: ALL_STATES,
    ino,
    show: SHOWN,
    cookie: [INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE],
  });
  return orExplain(() => {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'unix sockets');
    try {
      const [answer] = netlink.request(SOCK_DIAG_BY_FAMILY, request);
      return answer && decodeUnixSocket(answer.payload);
    } catch (error) {
      // Without unix_diag the answer is the same.
      if (error instanceof NetlinkError && error.errno === ERRNO.ENOENT && hasUnixDiag(netlink)) return undefined;
      throw error;
    }
  });
}

/** Whether the kernel can tell of unix sockets: it lists none of a state that there is not. */
function hasUnixDiag(netlink: NetlinkSocket): boolean {
  netlink.list(SOCK_DIAG_BY_FAMILY, UnixDiagReq.encode({ family: AF.UNIX, states: 1 }));
  return true;
}

/** Does `work`, whose error may be that the kernel has no unix_diag. */
function orExplain<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== ERRNO.ENOENT) throw error;
    const reason = 'the kernel cannot list unix sockets';
    throw new StasisError({ kind: 'kernel', resource: 'unix sockets', reason, remedy: 'load the module unix_diag' });
  }
}

/** One entry of the list: `struct unix_diag_msg` and attributes. Pure. */
export function decodeUnixSocket(payload: Uint8Array): UnixSocket {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const socket = {
    ino: view.getUint32(INO, true),
    type: view.getUint8(UnixDiagMsg.offsets.type),
    state: view.getUint8(UnixDiagMsg.offsets.state),
    name: undefined as Uint8Array | undefined,
    file: undefined as UnixSocket['file'],
    peer: undefined as number | undefined,
    pending: NONE as readonly number[],
    receiveQueue: 0,
    sendQueue: 0,
    shutdown: 0,
  };
  // As decodeAttributes(), but without a view of each: there may be thousands of sockets.
  for (let at = UnixDiagMsg.size; at + Nlattr.size <= payload.length; ) {
    const length = view.getUint16(at, true);
    const value = at + Nlattr.size;
    const end = at + length;
    if (length < Nlattr.size || end > payload.length) break;
    const word = (i: number): number | undefined =>
      value + 4 * i + 4 <= end ? view.getUint32(value + 4 * i, true) : undefined;
    switch (view.getUint16(at + 2, true) & NLA_TYPE_MASK) {
      case UNIX_DIAG.NAME:
        socket.name = payload.subarray(value, end);
        break;
      case UNIX_DIAG.VFS: {
        const ino = word(0);
        if (ino !== undefined) socket.file = { ino, dev: word(1) ?? 0 };
        break;
      }
      case UNIX_DIAG.PEER:
        socket.peer = word(0);
        break;
      case UNIX_DIAG.ICONS:
        socket.pending = u32sOf(payload.subarray(value, end));
        break;
      case UNIX_DIAG.RQLEN:
        socket.receiveQueue = word(0) ?? 0;
        socket.sendQueue = word(1) ?? 0;
        break;
      case UNIX_DIAG.SHUTDOWN:
        socket.shutdown = value < end ? view.getUint8(value) : 0;
        break;
    }
    at += align4(length);
  }
  return socket;
}

const NONE: readonly number[] = [];
