/** The connections of TCP that a tree has, and those that images have. */
import type { OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import type { InetSkEntry } from '../images/schema/sockets.ts';
import { TCP } from '../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK, TCP_STATE } from '../kernel/constants/sockets.ts';
import type { InetEnd } from '../kernel/netlink/inet-diag.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { getNumberIfAny, getOptionIfAny } from '../kernel/sockets.ts';
import { isNetworkThere, networkIdOf } from '../namespaces/networks.ts';
import { AddressMap } from './address-map.ts';
import { mappedOf } from './inet-address.ts';

/**
 * A connection with a peer that is alive. Addresses are those of its packets: of IPv4 also where the socket is one of
 * IPv6.
 */
export interface TcpConnection {
  /** The ID that images have for its network namespace. */
  readonly network: number;
  readonly local: InetEnd;
  readonly remote: InetEnd;
  /** {@link TCP_STATE}. */
  readonly state: number;
}

/** The connections a tree has, each once. No system call is made for files that are no sockets of IP. */
export const CONNECTIONS = new Slot((tree: SeenTree): readonly TcpConnection[] => {
  const byInode = new Map<number, TcpConnection | undefined>();
  for (const { fds } of tree.tasks) {
    for (const file of fds) {
      if (isInet(file) && !byInode.has(file.stat.ino)) byInode.set(file.stat.ino, connectionOf(file, tree));
    }
  }
  return [...byInode.values()].filter((connection) => connection !== undefined);
});

function isInet(file: OpenFile): boolean {
  const family = file.socketDomain();
  return family === AF.INET || family === AF.INET6;
}

/** Undefined if the socket is none of TCP, or has no connection. */
function connectionOf(file: OpenFile, tree: SeenTree): TcpConnection | undefined {
  const { local } = file;
  if (getNumberIfAny(local, SO.TYPE) !== SOCK.STREAM || getNumberIfAny(local, SO.PROTOCOL) !== IPPROTO.TCP) return;
  const state = getOptionIfAny(local, TCP.INFO, 1, IPPROTO.TCP)?.[0]; // struct tcp_info begins with it
  if (state === undefined || !isAlive(state)) return;
  const name = rawAddress('getsockname', local);
  // getpeername(2) does not tell the peer of a connection that is being made, and this option wants the exact size.
  const peer = name && getOptionIfAny(local, SO.PEERNAME, name.length);
  const [own, remote] = [endOf(name), endOf(peer)];
  return own && remote && { network: networkIdOf(file, tree), local: own, remote, state };
}

function isAlive(state: number): boolean {
  return state !== TCP_STATE.CLOSE && state !== TCP_STATE.LISTEN;
}

/** Address and port of a `struct sockaddr_in` or `sockaddr_in6`. */
function endOf(address: Uint8Array | undefined): InetEnd | undefined {
  if (!address || address.length < 16) return undefined;
  const isInet = address[0] === AF.INET;
  const bytes = isInet ? address.slice(4, 8) : address.slice(8, 24);
  return { address: mappedOf(bytes) ?? bytes, port: address.slice(2, 4) };
}

/**
 * The connections that images have in network namespaces that exist before the restore, with the addresses they were
 * saved with, and those they are to have. Nobody can reach the others before they are there.
 */
export const SAVED_CONNECTIONS = new Slot((context: RestoreContext) => {
  const { fileEntries, options } = context;
  const map = new AddressMap(options.inetAddressMap);
  const entries = [...fileEntries.values()].flatMap(({ isk }) =>
    isk && isConnection(isk) && isNetworkThere(context, isk.ns_id) ? [isk] : [],
  );
  return {
    before: entries.map(ofEntry),
    now: entries.map((entry) => ofEntry(map.apply(entry))),
  };
});

function isConnection({ type, proto, state, dst_port }: InetSkEntry): boolean {
  return type === SOCK.STREAM && proto === IPPROTO.TCP && dst_port !== 0 && isAlive(state);
}

function ofEntry({ family, state, src_addr, src_port, dst_addr, dst_port, ns_id }: InetSkEntry): TcpConnection {
  const end = (words: readonly number[], port: number): InetEnd => {
    const bytes = new Uint8Array(new Uint32Array(words.slice(0, family === AF.INET ? 1 : 4)).buffer);
    return { address: mappedOf(bytes) ?? bytes, port: Uint8Array.of(port >> 8, port & 0xff) };
  };
  const network = ns_id ?? 0;
  return { network, local: end(src_addr, src_port), remote: end(dst_addr, dst_port), state };
}
