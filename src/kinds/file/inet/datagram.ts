/** Sockets of datagrams: UDP and UDPLite, ICMP (ping), and raw ones of any protocol. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import type { DumpContext } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { InetSkEntry } from '../../../images/schema/sockets.ts';
import { POLL } from '../../../kernel/constants/files.ts';
import { IPPROTO, SHUT, SIOCOUTQ, SO, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { nap } from '../../../kernel/nap.ts';
import { shutDownSockets } from '../../../kernel/netlink/inet-diag.ts';
import { eventsOf } from '../../../kernel/poll.ts';
import { getOptionIfAny } from '../../../kernel/sockets.ts';
import { arenaAddress, arenaView, describeErrno, trySyscall } from '../../../kernel/syscall.ts';
import { fromAllNetworks } from '../../../namespaces/networks.ts';
import { deviceIndex } from '../../../network/devices.ts';
import { fieldsOf, isAny, showEnd, sockaddrOf, sockaddrSize } from '../../../network/end-fields.ts';
import { aboutFile, fileObstacle } from '../../../support/fdinfo.ts';
import { captureRawOptions, captureUdpOptions, restoreRawOptions, restoreUdpOptions } from './datagram-options.ts';
import { captureQueue, queueMemory, refill } from './datagram-queue.ts';
import { captureMemberships, joinGroups } from './multicast.ts';
import type { MembershipNote } from './notes.ts';
import type { InetProtocol, InetSocket, MadeSocket } from './protocol.ts';
import { shutDownAlone } from './shut-down.ts';

export const udp: InetProtocol = {
  handles: (type, protocol) => type === SOCK.DGRAM && (protocol === IPPROTO.UDP || protocol === IPPROTO.UDPLITE),

  obstacle({ file, local }) {
    if (!isCorked(local)) return undefined;
    const reason = 'a part of a datagram waits in it to be completed and sent (UDP_CORK, MSG_MORE)';
    return fileObstacle(file, 'SOCKET_UDP', reason, 'dump it when the program has sent the datagram');
  },

  notice: errorNotice,

  capture(socket, id, context) {
    const { local } = socket;
    const datagrams = hasError(local) ? [] : captureQueue(local, id, context);
    const options = captureUdpOptions(socket);
    return {
      entry: { state: stateOf(socket), ...shutdownOf(socket, context) },
      note: {
        ...(options ? { protocol: options } : {}),
        ...(datagrams.length > 0 ? { datagrams } : {}),
        ...membershipsOf(socket, context),
      },
    };
  },

  needsOwnAddress: true,
  connect: connectAndJoin,
  fill: refill,
  open(socket) {
    restoreUdpOptions(socket);
    shutDown(socket);
  },
};

export const ping: InetProtocol = {
  handles: (type, protocol) => type === SOCK.DGRAM && (protocol === IPPROTO.ICMP || protocol === IPPROTO.ICMPV6),
  notice: lossNotice,
  capture: (socket, _id, context) => ({ entry: { state: stateOf(socket), ...shutdownOf(socket, context) } }),
  connect: connectIfAny,
  open: shutDown,
};

export const raw: InetProtocol = {
  handles: (type) => type === SOCK.RAW,
  notice: lossNotice,
  capture(socket, _id, context) {
    const { ip_opts, options } = captureRawOptions(socket);
    return {
      entry: { state: stateOf(socket), ip_opts, ...shutdownOf(socket, context) },
      note: { ...(options ? { protocol: options } : {}), ...membershipsOf(socket, context) },
    };
  },
  connect: connectAndJoin,
  open(socket) {
    restoreRawOptions(socket);
    shutDown(socket);
  },
};

/** How often, and for how many nanoseconds each time, packets are waited for that a device still has to send. */
const PATIENCE = 20;
const PAUSE = 2_000_000;

/**
 * Whether a part of a datagram waits. Nobody tells but by the memory it takes, which packets take too until a device
 * has sent them.
 */
function isCorked(local: LocalFd): boolean {
  for (let turn = 0; turn < PATIENCE; turn++) {
    if (trySyscall('ioctl', local, SIOCOUTQ, arenaAddress) < 0 || arenaView.getInt32(0, true) === 0) return false;
    nap(PAUSE);
  }
  return true;
}

function hasError(local: LocalFd): boolean {
  return (eventsOf(local, 0) & POLL.ERR) !== 0;
}

/** SO_ERROR would tell the error, and clear it; so does every look at the datagrams. */
function errorNotice({ file, local }: InetSocket): NoticeFacts | undefined {
  if (!hasError(local)) return undefined;
  const reason = 'an error waits in the socket to be reported; the error, and all datagrams that wait, will be lost';
  return { ...aboutFile(file), reason, remedy: 'dump it when the program has taken them' };
}

/** Of raw and ICMP sockets only the first message could be read without taking it (they have no SO_PEEK_OFF). */
function lossNotice({ file, local }: InetSocket): NoticeFacts | undefined {
  if (queueMemory(local) === 0) return undefined;
  const reason = 'messages wait in the socket that cannot be read without taking them; they will be lost';
  return { ...aboutFile(file), reason, remedy: 'dump it when the program has received them' };
}

function stateOf({ local, family }: InetSocket): number {
  const peer = getOptionIfAny(local, SO.PEERNAME, sockaddrSize(family));
  return peer ? TCP_STATE.ESTABLISHED : TCP_STATE.CLOSE;
}

/** Sockets of UDP and UDPLite that are shut down. */
const SHUT_DOWN = new Slot(({ tree }: DumpContext) => {
  const those = (protocol: number) => fromAllNetworks(tree, () => shutDownSockets(protocol));
  return { [IPPROTO.UDP]: those(IPPROTO.UDP), [IPPROTO.UDPLITE]: those(IPPROTO.UDPLITE) };
});

/** Which directions are shut down. poll(2) does not tell when it is only sending. */
function shutdownOf({ file, local, protocol }: InetSocket, context: DumpContext): { shutdown?: number } {
  const events = eventsOf(local, POLL.RDHUP);
  const isUdp = protocol === IPPROTO.UDP || protocol === IPPROTO.UDPLITE;
  const listed = isUdp ? (SHUT_DOWN.of(context)[protocol].get(file.stat.ino) ?? 0) : 0;
  const shutdown = listed | (events & POLL.HUP ? 3 : 0) | (events & POLL.RDHUP ? 1 : 0);
  return shutdown === 0 ? {} : { shutdown };
}

const DIRECTIONS: Readonly<Record<number, number>> = { 1: SHUT.RD, 2: SHUT.WR, 3: SHUT.RDWR };

/** A socket without a peer is shut down too, although the kernel answers ENOTCONN. */
function shutDown({ entry, local }: MadeSocket): void {
  const how = DIRECTIONS[entry.shutdown ?? 0];
  if (how !== undefined) shutDownAlone(local, how);
}

/** Connects a socket that was connected. @throws StasisError (conflict) if there is no way to its peer */
function connectIfAny({ entry, local }: MadeSocket): void {
  if (!isConnected(entry)) return;
  const device = entry.ifname ? deviceIndex(local, entry.ifname) : 0;
  const peer = fieldsOf(entry, 'destination');
  const address = sockaddrOf(entry.family, peer, device ?? 0);
  const result = trySyscall('connect', local, address, address.length);
  if (result >= 0) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SOCKET_ADDRESS_MISSING',
    resource: `socket:[${entry.ino}]`,
    reason: `it cannot be connected to ${showEnd(entry.family, peer)} again: ${describeErrno(-result)}`,
    remedy: 'have this machine know a way to that address (ip route add), or use another one: --inet-addr-map',
  });
}

function connectAndJoin(socket: MadeSocket): void {
  connectIfAny(socket);
  joinGroups(socket);
}

function membershipsOf(socket: InetSocket, context: DumpContext): { memberships?: MembershipNote[] } {
  const memberships = captureMemberships(socket, context);
  return memberships.length === 0 ? {} : { memberships };
}

function isConnected(entry: InetSkEntry): boolean {
  const peer = fieldsOf(entry, 'destination');
  return peer.port !== 0 || !isAny(peer);
}
