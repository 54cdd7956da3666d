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
  const answer = socketBetween(protocol, own, remote, 0);
  return answer && Answer.decode(answer).inode;
}

/** What the kernel tells of a connection. */
export interface ConnectionFacts {
  /** {@link TCP_STATE}; SYN_RECV also where the listening socket alone knows of it. */
  readonly state: number;
  /** How many bytes have come in order, and a FIN. 0 before it is established. */
  readonly received: number;
  /** What our windows are shifted by. */
  readonly receiveScale: number;
}

/** The connection of TCP between two ends, which need not have a descriptor; undefined if there is none. */
export function connectionBetween(own: InetEnd, remote: InetEnd): ConnectionFacts | undefined {
  const answer = socketBetween(IPPROTO.TCP, own, remote, WITH_INFO);
  if (!answer) return undefined;
  const info = decodeAttributes(answer.subarray(Answer.size)).get(INET_DIAG.INFO);
  return {
    state: Answer.decode(answer).state,
    received: info ? Number(new DataView(info.buffer, info.byteOffset).getBigUint64(BYTES_RECEIVED, true)) : 0,
    receiveScale: (info?.[SCALES] ?? 0) >> 4,
  };
}

/** Where `struct tcp_info` has tcpi_bytes_received, and both scales. */
const BYTES_RECEIVED = 128;
const SCALES = 6;

/** What the kernel tells of the socket between two ends; undefined if there is none, or it cannot tell. */
function socketBetween(protocol: number, own: InetEnd, remote: InetEnd, extensions: number): Uint8Array | undefined {
  const request = Request.encode({
    family: own.address.length === 4 ? AF.INET : AF.INET6,
    protocol,
    extensions,
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
    return netlink.request(SOCK_DIAG_BY_FAMILY, request)[0]?.payload;
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}

const ACCEPTABLE = (1 << TCP_STATE.ESTABLISHED) | (1 << TCP_STATE.CLOSE_WAIT);

/**
 * The connections at a port (in network order) of our network namespace that nobody has accepted: only these are
 * established and have no inode. Addresses of IPv4 may be mapped into IPv6. Empty if the kernel cannot tell (no
 * inet_diag).
 */
export function unacceptedConnections(port: Uint8Array): { readonly own: InetEnd; readonly remote: InetEnd }[] {
  return listSockets(IPPROTO.TCP, ACCEPTABLE, 0, port).flatMap((payload) => {
    const { family, id, inode } = Answer.decode(payload);
    if (inode !== 0) return [];
    const size = family === AF.INET ? 4 : 16;
    const own = { address: id.source.slice(0, size), port: id.sourcePort };
    return [{ own, remote: { address: id.destination.slice(0, size), port: id.destinationPort } }];
  });
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

const NO_ID = {
  sourcePort: new Uint8Array(2),
  destinationPort: new Uint8Array(2),
  source: new Uint8Array(16),
  destination: new Uint8Array(16),
  device: 0,
  cookie: [0, 0],
};

/** What the kernel tells of the TCP sockets that are in some states (bits). */
function listTcp(states: number, extensions = 0): Uint8Array[] {
  return listSockets(IPPROTO.TCP, states, extensions);
}

/** What the kernel tells of the sockets of a protocol that are in some states (bits); of one port, or of all. */
function listSockets(protocol: number, states: number, extensions = 0, port?: Uint8Array): Uint8Array[] {
  return [AF.INET, AF.INET6].flatMap((family) => {
    const id = port ? { id: { ...NO_ID, sourcePort: port } } : {};
    const request = Request.encode({ family, protocol, extensions, states, ...id });
    try {
      using netlink = new NetlinkSocket(NETLINK.SOCK_DIAG, 'sockets of TCP and UDP');
      return netlink.list(SOCK_DIAG_BY_FAMILY, request).map(({ payload }) => payload);
    } catch (error) {
      if (error instanceof NetlinkError) return [];
      throw error;
    }
  });
}
