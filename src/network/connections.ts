/** The connections of TCP that a tree has, and those that images have. */
import type { LocalFd } from '../base/brands.ts';
import type { CarryOptions, OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import type { InetSkEntry } from '../images/schema/sockets.ts';
import { TCP } from '../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK, TCP_STATE } from '../kernel/constants/sockets.ts';
import { type InetEnd, unacceptedConnections } from '../kernel/netlink/inet-diag.ts';
import { rawAddress } from '../kernel/socket-facts.ts';
import { getNumberIfAny, getOptionIfAny } from '../kernel/sockets.ts';
import { inNetworkOf, isNetworkThere, networkIdOf } from '../namespaces/networks.ts';
import { waitingIn } from './accept-queue.ts';
import { AddressMap } from './address-map.ts';
import { type End, fieldsOf, packetEndOf } from './end-fields.ts';
import { mappedOf } from './inet-address.ts';
import { SAVED_QUEUES } from './saved-queue.ts';

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

/** The sockets of TCP of a tree that are of interest here, each once. */
interface SeenSockets {
  readonly connections: readonly TcpConnection[];
  readonly listening: readonly OpenFile[];
}

/** No system call is made for files that are no sockets of IP. */
const SOCKETS = new Slot((tree: SeenTree): SeenSockets => {
  const seen = new Set<number>();
  const connections: TcpConnection[] = [];
  const listening: OpenFile[] = [];
  for (const { fds } of tree.tasks) {
    for (const file of fds) {
      if (!isInet(file) || seen.has(file.stat.ino)) continue;
      seen.add(file.stat.ino);
      const state = tcpState(file.local);
      if (state === TCP_STATE.LISTEN) listening.push(file);
      const connection = state && isAlive(state) ? connectionOf(file, state, tree) : undefined;
      if (connection) connections.push(connection);
    }
  }
  return { connections, listening };
});

/** The listening sockets of TCP that a tree has, each once. */
export const LISTENING = new Slot((tree: SeenTree): readonly OpenFile[] => SOCKETS.of(tree).listening);

/** The connections a tree has, each once, those that nobody has accepted among them if they are carried. */
export const CONNECTIONS = new Slot((tree: SeenTree): readonly TcpConnection[] => {
  return [...SOCKETS.of(tree).connections, ...QUEUED.of(tree)];
});

/** Whether connections that nobody has accepted are carried. */
export function carriesQueues({ options }: { readonly options: CarryOptions }): boolean {
  return options.tcpEstablished && !options.tcpClose && !options.skipInFlight;
}

/** The connections that nobody has accepted, in the queues of listening sockets of a tree, if they are carried. */
export const QUEUED = new Slot((tree: SeenTree): readonly TcpConnection[] => {
  if (!carriesQueues(tree)) return [];
  const found = new Map<string, TcpConnection>();
  for (const file of LISTENING.of(tree)) {
    for (const connection of queuedIn(file, tree)) {
      found.set(`${connection.network} ${endsKey(connection)}`, connection);
    }
  }
  return [...found.values()];
});

/** A key for two ends. */
export function endsKey({ local, remote }: Pick<TcpConnection, 'local' | 'remote'>): string {
  return [local, remote].map(({ address, port }) => `${address.join('.')}:${port.join('.')}`).join(' ');
}

/** The connections at the port of a listening socket that nobody has accepted; none if its queue is empty. */
export function queuedIn(file: OpenFile, tree: SeenTree): TcpConnection[] {
  if (waitingIn(file.local) === 0) return [];
  const network = networkIdOf(file, tree);
  return inNetworkOf(file, tree, () => unacceptedEnds(file.local)).map((ends) => {
    return { ...ends, network, state: TCP_STATE.ESTABLISHED };
  });
}

/** As {@link queuedIn}, of a listening socket of the network namespace that we are in. */
export function unacceptedEnds(listener: LocalFd): Pick<TcpConnection, 'local' | 'remote'>[] {
  const port = rawAddress('getsockname', listener)?.slice(2, 4) ?? new Uint8Array(2);
  const plain = (end: InetEnd): InetEnd => ({ ...end, address: mappedOf(end.address) ?? end.address });
  return unacceptedConnections(port).map(({ own, remote }) => ({ local: plain(own), remote: plain(remote) }));
}

function isInet(file: OpenFile): boolean {
  const family = file.socketDomain();
  return family === AF.INET || family === AF.INET6;
}

/** The state of a socket of TCP; undefined for other sockets. */
function tcpState(local: LocalFd): number | undefined {
  if (getNumberIfAny(local, SO.TYPE) !== SOCK.STREAM || getNumberIfAny(local, SO.PROTOCOL) !== IPPROTO.TCP) return;
  return getOptionIfAny(local, TCP.INFO, 1, IPPROTO.TCP)?.[0]; // struct tcp_info begins with it
}

function connectionOf(file: OpenFile, state: number, tree: SeenTree): TcpConnection | undefined {
  const { local } = file;
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
  const own = [...fileEntries.values()].flatMap(({ isk }) => (isk && isConnection(isk) ? [isk] : []));
  const queued = [...SAVED_QUEUES.of(context).values()].flat();
  const entries = [...own, ...queued].filter(({ ns_id }) => isNetworkThere(context, ns_id));
  return {
    before: entries.map(connectionOfEntry),
    now: entries.map((entry) => connectionOfEntry(map.apply(entry))),
  };
});

function isConnection({ type, proto, state, dst_port }: InetSkEntry): boolean {
  return type === SOCK.STREAM && proto === IPPROTO.TCP && dst_port !== 0 && isAlive(state);
}

/** The connection of an entry in images. */
export function connectionOfEntry(entry: InetSkEntry): TcpConnection {
  const { family, state, ns_id: network = 0 } = entry;
  const end = (which: End): InetEnd => packetEndOf(family, fieldsOf(entry, which));
  return { network, local: end('source'), remote: end('destination'), state };
}
