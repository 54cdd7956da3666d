/** The list of unix sockets from the kernel (include/uapi/linux/unix_diag.h, net/unix/diag.c). */
import { StasisError } from '../../base/errors.ts';
import { NETLINK, UDIAG_SHOW as SHOW, SOCK_DIAG_BY_FAMILY, UNIX_DIAG } from '../constants/netlink.ts';
import { AF } from '../constants/sockets.ts';
import { UnixDiagMsg, UnixDiagReq } from '../layouts/netlink.ts';
import { ERRNO } from '../syscall.ts';
import { decodeAttributes, u32sOf } from './attributes.ts';
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

/** All unix sockets of our network namespace, by inode number. @throws StasisError */
export function unixSockets(): Map<number, UnixSocket> {
  const request = UnixDiagReq.encode({
    family: AF.UNIX,
    states: 0xffff_ffff,
    show: SHOW.NAME | SHOW.VFS | SHOW.PEER | SHOW.ICONS | SHOW.RQLEN,
  });
  using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'unix sockets');
  try {
    const found = netlink.list(SOCK_DIAG_BY_FAMILY, request).map(({ payload }) => decodeUnixSocket(payload));
    return new Map(found.map((socket) => [socket.ino, socket]));
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.errno !== ERRNO.ENOENT) throw error;
    const reason = 'the kernel cannot list unix sockets';
    throw new StasisError({ kind: 'kernel', resource: 'unix sockets', reason, remedy: 'load the module unix_diag' });
  }
}

/** One entry of the list: `struct unix_diag_msg` and attributes. Pure. */
export function decodeUnixSocket(payload: Uint8Array): UnixSocket {
  const { ino, type, state } = UnixDiagMsg.decode(payload);
  const attributes = decodeAttributes(payload.subarray(UnixDiagMsg.size));
  const words = (type: number): number[] => u32sOf(attributes.get(type) ?? new Uint8Array());
  const [receiveQueue = 0, sendQueue = 0] = words(UNIX_DIAG.RQLEN);
  const [fileIno, fileDev = 0] = words(UNIX_DIAG.VFS);
  return {
    ino,
    type,
    state,
    name: attributes.get(UNIX_DIAG.NAME),
    file: fileIno === undefined ? undefined : { ino: fileIno, dev: fileDev },
    peer: words(UNIX_DIAG.PEER)[0],
    pending: words(UNIX_DIAG.ICONS),
    receiveQueue,
    sendQueue,
    shutdown: attributes.get(UNIX_DIAG.SHUTDOWN)?.[0] ?? 0,
  };
}
