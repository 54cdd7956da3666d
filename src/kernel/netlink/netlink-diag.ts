/** The list of netlink sockets from the kernel (include/uapi/linux/netlink_diag.h, net/netlink/diag.c). */
import {
  NDIAG_FLAG_CB_RUNNING,
  NDIAG_PROTO_ALL,
  NDIAG_SHOW,
  NETLINK,
  NETLINK_CONNECTED,
  NETLINK_DIAG,
  SOCK_DIAG_BY_FAMILY,
} from '../constants/netlink.ts';
import { AF } from '../constants/sockets.ts';
import { NetlinkDiagMsg as Answer, NetlinkDiagReq } from '../layouts/netlink.ts';
import { decodeAttributes, u32sOf } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

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
  const request = NetlinkDiagReq.encode({ family: AF.NETLINK, protocol: NDIAG_PROTO_ALL, show: NDIAG_SHOW.FLAGS });
  try {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'netlink sockets');
    return new Map(
      netlink.list(SOCK_DIAG_BY_FAMILY, request).map(({ payload }) => {
        const { ino, state } = Answer.decode(payload);
        const [flags = 0] = u32sOf(
          decodeAttributes(payload.subarray(Answer.size)).get(NETLINK_DIAG.FLAGS) ?? new Uint8Array(),
        );
        return [ino, { connected: state === NETLINK_CONNECTED, inDump: (flags & NDIAG_FLAG_CB_RUNNING) !== 0 }];
      }),
    );
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}
