/** Finding sockets of TCP and UDP by their addresses (include/uapi/linux/inet_diag.h, net/ipv4/inet_diag.c). */
import { INET_DIAG, INET_DIAG_NOCOOKIE, NETLINK, SOCK_DIAG_BY_FAMILY } from '../constants/netlink.ts';
import { AF, IPPROTO, TCP_STATE } from '../constants/sockets.ts';
import { InetDiagMsg as Answer, InetDiagReq as Request } from '../layouts/netlink.ts';
import { decodeAttributes, hasAttribute } from './attributes.ts';
import { NetlinkError, NetlinkSocket } from './socket.ts';

/** An end of a connection, in network order: 4 or 16 bytes of address, and 2 of a port. */
export interface InetEnd {
  readonly address: Uint8Array;
  readonly port: Uint8Array;
}

/**
 * The inode of the socket of our network namespace that has `own` as its address and `remote` as its peer's; for UDP it
 * may be one that is connected with nobody. 0 if it has been closed; undefined if there is none, or the kernel cannot
 * tell (no inet_diag).
 */
export function inetSocketBetween(protocol: number, own: InetEnd, remote: InetEnd): number | undefined {
  const request = Request.encode({
    family: own.address.length === 4 ? AF.INET : AF.INET6,
    protocol,
    states: 0xffff_ffff,
    id: {
      sourcePort: own.port,
      destinationPort: remote.port,
      source: own.address,
      destination: remote.address,
      device: 0,
      cookie: [INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE],
    },
  });
  try {
    using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sockets of TCP and UDP');
    const [answer] = netlink.request(SOCK_DIAG_BY_FAMILY, request);
    return answer && Answer.decode(answer.payload).inode;
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}

/** Asks for struct tcp_info as well, without which no keys are told. */
const WITH_INFO = 1 << (INET_DIAG.INFO - 1);

const HALF_OPEN = 1 << TCP_STATE.SYN_RECV;

/** All states of TCP but those of which there may be very many, and which have no descriptor. */
const WITH_DESCRIPTORS = 0xffff_ffff & ~(HALF_OPEN | (1 << TCP_STATE.TIME_WAIT) | (1 << TCP_STATE.NEW_SYN_RECV));

/**
 * The inodes of the TCP sockets of our network namespace that sign their segments by MD5 (RFC 2385). No option tells
 * that. Empty if the kernel cannot tell (no inet_diag).
 */
export function signingSockets(): Set<number> {
  const signing = listTcp(WITH_DESCRIPTORS, WITH_INFO).filter((answer) => {
    return hasAttribute(answer, Answer.size, INET_DIAG.MD5SIG);
  });
  return new Set(signing.map((answer) => Answer.decode(answer).inode));
}

/**
 * How many connections to each port of our network namespace are being made: their listening sockets know of them, and
 * nobody else. Empty if the kernel cannot tell (no inet_diag).
 */
export function halfOpenByPort(): Map<number, number> {
  const found = new Map<number, number>();
  for (const answer of listTcp(HALF_OPEN)) {
    const [high = 0, low = 0] = Answer.decode(answer).id.sourcePort;
    const port = (high << 8) | low;
    found.set(port, (found.get(port) ?? 0) + 1);
  }
  return found;
}

/**
 * The sockets of a protocol of our network namespace that are shut down, by inode: 1 receiving, 2 sending, or both.
 * Empty if the kernel cannot tell (no inet_diag); sockets of UDP that have no port are not listed.
 */
export function shutDownSockets(protocol: number): Map<number, number> {
  const found = new Map<number, number>();
  for (const payload of listSockets(protocol, 0xffff_ffff)) {
    const [directions = 0] = decodeAttributes(payload.subarray(Answer.size)).get(INET_DIAG.SHUTDOWN) ?? [];
    if (directions !== 0) found.set(Answer.decode(payload).inode, directions);
  }
  return found;
}

/** What the kernel tells of the TCP sockets that are in some states (bits). */
function listTcp(states: number, extensions = 0): Uint8Array[] {
  return listSockets(IPPROTO.TCP, states, extensions);
}

/** What the kernel tells of the sockets of a protocol that are in some states (bits). */
function listSockets(protocol: number, states: number, extensions = 0): Uint8Array[] {
  return [AF.INET, AF.INET6].flatMap((family) => {
    const request = Request.encode({ family, protocol, extensions, states });
    try {
      using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sockets of TCP and UDP');
      return netlink.list(SOCK_DIAG_BY_FAMILY, request).map(({ payload }) => payload);
    } catch (error) {
      if (error instanceof NetlinkError) return [];
      throw error;
    }
  });
}
