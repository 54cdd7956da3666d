/** The list of unix sockets from the kernel (include/uapi/linux/unix_diag.h, net/unix/diag.c). */
import { StasisError } from '../../base/errors.ts';
import { AF, NETLINK } from '../constants/sockets.ts';
import { array, struct, u8, u16, u32 } from '../layouts/struct.ts';
import { ERRNO } from '../syscall.ts';
import { decodeAttributes, u32sOf } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

/** `SOCK_DIAG_BY_FAMILY` (sock_diag.h). */
export const SOCK_DIAG_BY_FAMILY = 20;

const SHOW = { NAME: 0x1, VFS: 0x2, PEER: 0x4, ICONS: 0x8, RQLEN: 0x10 } as const;
const ATTRIBUTE = { NAME: 0, VFS: 1, PEER: 2, ICONS: 3, RQLEN: 4, SHUTDOWN: 6 } as const;

const Request = struct({
  family: u8,
  protocol: u8,
  pad: u16,
  states: u32,
  ino: u32,
  show: u32,
  cookie: array(u32, 2),
});
const Answer = struct({ family: u8, type: u8, state: u8, pad: u8, ino: u32, cookie: array(u32, 2) });

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
  const request = Request.encode({
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
  const { ino, type, state } = Answer.decode(payload);
  const attributes = decodeAttributes(payload.subarray(Answer.size));
  const words = (type: number): number[] => u32sOf(attributes.get(type) ?? new Uint8Array());
  const [receiveQueue = 0, sendQueue = 0] = words(ATTRIBUTE.RQLEN);
  const [fileIno, fileDev = 0] = words(ATTRIBUTE.VFS);
  return {
    ino,
    type,
    state,
    name: attributes.get(ATTRIBUTE.NAME),
    file: fileIno === undefined ? undefined : { ino: fileIno, dev: fileDev },
    peer: words(ATTRIBUTE.PEER)[0],
    pending: words(ATTRIBUTE.ICONS),
    receiveQueue,
    sendQueue,
    shutdown: attributes.get(ATTRIBUTE.SHUTDOWN)?.[0] ?? 0,
  };
}
