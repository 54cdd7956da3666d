/** Which connections that nobody has accepted cannot be carried, and what can be done about it. */
import { StasisError } from '../../../base/errors.ts';
import type { SeenTree } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import { TCP } from '../../../kernel/constants/inet.ts';
import { AF, IFNAMSIZ, IPPROTO, SO } from '../../../kernel/constants/sockets.ts';
import { halfOpenByPort } from '../../../kernel/netlink/inet-diag.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { getNumberIfAny, getOptionIfAny } from '../../../kernel/sockets.ts';
import { networkIdOf } from '../../../namespaces/networks.ts';
import { carriesQueues, queuedIn, type TcpConnection } from '../../../network/connections.ts';
import { endOf, needsDevice } from '../../../network/end-fields.ts';
import { rehearse } from '../../../network/queue-rehearsal.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import type { InetSocket } from './protocol.ts';

const LOSE = 'dump it when the server has accepted them, or with --skip-in-flight, which loses them';

/** Why the queue of a listening socket, in which `waiting` connections are, cannot be carried; undefined if it can. */
export function queueObstacle(socket: InetSocket, waiting: number, tree: SeenTree): StasisError | undefined {
  if (tree.options.skipInFlight) return undefined;
  const halfMade = deferred(socket, tree);
  const pending = waiting + halfMade;
  if (pending === 0) return undefined;
  const what = `${pending === 1 ? '1 connection waits' : `${pending} connections wait`} to be accepted`;
  const obstacle = (why: string, remedy: string): StasisError => {
    return fileObstacle(socket.file, 'SOCKET_TCP_PENDING', what + why, remedy);
  };
  if (halfMade > 0) return obstacle(', from which nothing has come yet (TCP_DEFER_ACCEPT)', LOSE);
  if (!carriesQueues(tree)) {
    return obstacle('', '--tcp-established carries them; --skip-in-flight loses them');
  }
  const why = unfit(socket, tree);
  return why === undefined ? undefined : obstacle(`, and ${why}`, LOSE);
}

/** Why the connections in a queue cannot be put into it again; undefined if they can. */
function unfit(socket: InetSocket, tree: SeenTree): string | undefined {
  const { file, local, protocol, family } = socket;
  if (protocol === IPPROTO.MPTCP) return 'a listening socket of MPTCP does not tell which they are';
  if (getNumberIfAny(local, TCP.FASTOPEN, IPPROTO.TCP)) return 'some may carry bytes in their SYN (TCP_FASTOPEN)';
  // What is made here comes in through the loopback device.
  if (getOptionIfAny(local, SO.BINDTODEVICE, IFNAMSIZ)?.length) return 'the socket is bound to a device';
  const connections = queuedIn(file, tree);
  if (connections.some(({ remote }) => isOfLink(remote.address))) return 'one comes from a link-local address';
  for (const one of connections) {
    const key = `${networkIdOf(file, tree)} ${family} ${one.local.address.join()} ${one.remote.address.join()}`;
    const failure = REHEARSALS.of(tree, key)(one);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

function isOfLink(address: Uint8Array): boolean {
  if (address.length === 4) return false;
  return needsDevice(AF.INET6, { port: 0, words: [...new Uint32Array(address.slice().buffer)] });
}

/** Why connections between two addresses cannot be put into a queue; undefined if they can. Tried out once. */
const REHEARSALS = new KeyedSlot((_: SeenTree, _key: string) => {
  let known: { readonly failure: string | undefined } | undefined;
  return (connection: TcpConnection): string | undefined => {
    known ??= { failure: failureOf(connection) };
    return known.failure;
  };
});

function failureOf({ local, remote }: TcpConnection): string | undefined {
  try {
    rehearse(local, remote);
    return undefined;
  } catch (error) {
    return `they cannot be made again: ${error instanceof StasisError ? error.reason : String(error)}`;
  }
}

/**
 * Connections that the other end takes for made, and this one for half made, until bytes come (TCP_DEFER_ACCEPT). Those
 * of other listening sockets are made again by the other end, which repeats its SYN.
 */
function deferred({ file, local, family }: InetSocket, tree: SeenTree): number {
  if (!getNumberIfAny(local, TCP.DEFER_ACCEPT, IPPROTO.TCP)) return 0;
  return HALF_OPEN.of(tree, networkIdOf(file, tree)).get(endOf(family, rawAddress('getsockname', local)).port) ?? 0;
}

/** By the ID of a network namespace; asked for inside of that. */
const HALF_OPEN = new KeyedSlot((_: SeenTree, _network: number) => halfOpenByPort());
