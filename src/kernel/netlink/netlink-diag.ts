/** The list of netlink sockets from the kernel (include/uapi/linux/netlink_diag.h, net/netlink/diag.c). */
import { AF, NETLINK } from '../constants/sockets.ts';
import { array, struct, u8, u16, u32 } from '../layouts/struct.ts';
import { decodeAttributes, u32sOf } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';
import { SOCK_DIAG_BY_FAMILY } from './unix-diag.ts';

/** NDIAG_PROTO_ALL, NDIAG_SHOW_FLAGS. */
const ALL = 0xff;
const SHOW_FLAGS = 4;
/** `NETLINK_CONNECTED`; sockets that are not have TCP_CLOSE. */
const CONNECTED = 1;
/** NETLINK_DIAG_FLAGS, and the flag NDIAG_FLAG_CB_RUNNING. */
const FLAGS = 4;
const IN_DUMP = 1;

const Request = struct({ family: u8, protocol: u8, pad: u16, ino: u32, show: u32, cookie: array(u32, 2) });
const Answer = struct({
  family: u8,
  type: u8,
  protocol: u8,
  state: u8,
  port: u32,
  peerPort: u32,
  peerGroup: u32,
  ino: u32,
  cookie: array(u32, 2),
});

/** What only this list tells of a netlink socket. */
export interface ListedNetlink {
  /** Whether connect(2) was called. */
  readonly connected: boolean;
  /** Whether the kernel is in the middle of an answer that is a list (NLM_F_DUMP). */
  readonly inDump: boolean;
}

/**
 * The netlink sockets of our network namespace that are bound or members of a group, by inode number. Undefined if the
 * kernel cannot list them (netlink_diag).
 */
export function netlinkSockets(): Map<number, ListedNetlink> | undefined {
  const request = Request.encode({ family: AF.NETLINK, protocol: ALL, show: SHOW_FLAGS });
  try {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'netlink sockets');
    return new Map(
      netlink.list(SOCK_DIAG_BY_FAMILY, request).map(({ payload }) => {
        const { ino, state } = Answer.decode(payload);
        const [flags = 0] = u32sOf(decodeAttributes(payload.subarray(Answer.size)).get(FLAGS) ?? new Uint8Array());
        return [ino, { connected: state === CONNECTED, inDump: (flags & IN_DUMP) !== 0 }];
      }),
    );
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}
