/**
 * What a socket is: family, protocol, state, addresses. Asked of a descriptor, borrowed or our own, so that it works
 * for sockets of any network namespace.
 */
import type { LocalFd } from '../base/brands.ts';
import { TCP } from './constants/inet.ts';
import { AF, IPPROTO, SO, SOCK } from './constants/sockets.ts';
import { decodeSocketAddress, type SocketAddress } from './socket-address.ts';
import { getNumberIfAny } from './sockets.ts';
import { arena, arenaAddress, arenaView, trySyscall } from './syscall.ts';

/** A socket, in words that people and programs understand. */
export interface SocketFacts {
  /** `inet`, `inet6`, `unix`, `netlink`, `packet`, …, or `family N`. */
  readonly family: string;
  /** `stream`, `dgram`, `raw`, `seqpacket`, …, or `type N`. */
  readonly type: string;
  /** `tcp`, `udp`, `icmp`, … of inet; `route`, `kobject-uevent`, … of netlink; or `protocol N`. */
  readonly protocol: string | undefined;
  /** `listen`, or a state of TCP as `established`; of others `connected` where it is. */
  readonly state: string | undefined;
  readonly local: SocketAddress | undefined;
  readonly remote: SocketAddress | undefined;
}

const FAMILIES: Readonly<Record<number, string>> = {
  [AF.UNIX]: 'unix',
  [AF.INET]: 'inet',
  [AF.INET6]: 'inet6',
  [AF.NETLINK]: 'netlink',
  [AF.PACKET]: 'packet',
  [AF.VSOCK]: 'vsock',
  29: 'can',
  31: 'bluetooth',
  38: 'alg',
  44: 'xdp',
};

const TYPES: Readonly<Record<number, string>> = {
  [SOCK.STREAM]: 'stream',
  [SOCK.DGRAM]: 'dgram',
  [SOCK.RAW]: 'raw',
  4: 'rdm',
  [SOCK.SEQPACKET]: 'seqpacket',
  6: 'dccp',
};

/** Protocols of inet and inet6 (include/uapi/linux/in.h, in6.h). */
const INET_PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  [IPPROTO.TCP]: 'tcp',
  [IPPROTO.UDP]: 'udp',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
  255: 'raw',
  262: 'mptcp',
};

/** Protocols of netlink (include/uapi/linux/netlink.h). */
const NETLINK_PROTOCOLS: Readonly<Record<number, string>> = {
  0: 'route',
  4: 'sock-diag',
  6: 'xfrm',
  9: 'audit',
  10: 'fib-lookup',
  11: 'connector',
  12: 'netfilter',
  15: 'kobject-uevent',
  16: 'generic',
  21: 'crypto',
};

/** States of TCP by number (include/net/tcp_states.h). */
const TCP_STATES = [
  undefined,
  'established',
  'syn-sent',
  'syn-received',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'closed',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
] as const;

/** Looks at the socket behind a descriptor of ours; undefined if it is none. */
export function socketFacts(local: LocalFd): SocketFacts | undefined {
  const family = getNumberIfAny(local, SO.DOMAIN);
  const type = getNumberIfAny(local, SO.TYPE);
  if (family === undefined || type === undefined) return undefined;
  const protocol = protocolName(family, getNumberIfAny(local, SO.PROTOCOL) ?? 0);
  const peer = rawAddress('getpeername', local);
  const remote = peer && decodeSocketAddress(peer);
  const own = rawAddress('getsockname', local);
  return {
    family: FAMILIES[family] ?? `family ${family}`,
    type: TYPES[type] ?? `type ${type}`,
    protocol,
    state: stateOf(local, protocol) ?? (peer && !isUnconnected(remote) ? 'connected' : undefined),
    local: told(own && decodeSocketAddress(own)),
    remote: told(remote),
  };
}

function protocolName(family: number, protocol: number): string | undefined {
  if (family === AF.NETLINK) return NETLINK_PROTOCOLS[protocol] ?? `protocol ${protocol}`;
  if (family === AF.INET || family === AF.INET6) return INET_PROTOCOLS[protocol] ?? `protocol ${protocol}`;
  return protocol === 0 ? undefined : `protocol ${protocol}`;
}

function stateOf(local: LocalFd, protocol: string | undefined): string | undefined {
  if (protocol === 'tcp') {
    // The first byte of struct tcp_info.
    arenaView.setUint32(0, 1, true);
    const result = trySyscall('getsockopt', local, IPPROTO.TCP, TCP.INFO, arenaAddress + 16, arenaAddress);
    return result < 0 ? undefined : TCP_STATES[arenaView.getUint8(16)];
  }
  return getNumberIfAny(local, SO.ACCEPTCONN) ? 'listen' : undefined;
}

/** A netlink socket always has a peer, which is the kernel unless it was connected. */
function isUnconnected(remote: SocketAddress | undefined): boolean {
  return remote?.family === 'netlink' && remote.portId === 0 && remote.groups === 0;
}

/** An address that says something: of IP and netlink there is one before the socket is bound. */
function told(address: SocketAddress | undefined): SocketAddress | undefined {
  const isInet = address?.family === 'inet' || address?.family === 'inet6';
  return isUnconnected(address) || (isInet && address.port === 0) ? undefined : address;
}

/** More than any `struct sockaddr`. */
const ROOM = 256;

/** The `struct sockaddr` of a socket or its peer; undefined if it has none. */
export function rawAddress(call: 'getsockname' | 'getpeername', local: LocalFd): Uint8Array | undefined {
  arenaView.setUint32(0, ROOM, true);
  if (trySyscall(call, local, arenaAddress + 16, arenaAddress) < 0) return undefined;
  return arena.slice(16, 16 + Math.min(arenaView.getUint32(0, true), ROOM));
}
