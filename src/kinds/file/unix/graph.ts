/**
 * How the unix sockets of the images can be made again: which by socketpair(2), which by connecting to a listening
 * socket and accepting the connection there, which by themselves. Pure.
 */
import { ImageError } from '../../../images/error.ts';
import type { UnixSkEntry } from '../../../images/schema/sockets.ts';
import { SOCK, TCP_STATE, UNIX_PATH_MAX } from '../../../kernel/constants/sockets.ts';
import type { SocketNote } from './notes.ts';
import { USK_EXTERN } from './outside.ts';
import type { WaitingConnection } from './waiting.ts';

/** A socket of the images with its note. */
export interface SavedSocket {
  readonly entry: UnixSkEntry;
  readonly note: SocketNote;
}

/** Two sockets made by socketpair(2). */
export interface PairPlan {
  readonly a: SavedSocket;
  /** The other end; undefined if it is closed when what waits in `a` has been sent through it. */
  readonly b: SavedSocket | undefined;
  readonly maker: SocketNote['maker'];
  /** Ends that are not connected with the other one: the connection is given up when the pair is made. */
  readonly apart: readonly SavedSocket[];
}

/** A connection made by connect(2). */
export interface ConnectionPlan {
  /** Undefined if it is closed when what waits at the other end has been sent through it. */
  readonly client: SavedSocket | undefined;
  /** Undefined if the connection stays in the queue of the listening socket. */
  readonly server: SavedSocket | undefined;
  /** Who called listen(2) before that. */
  readonly listenedBy: SocketNote['maker'];
  /** Who calls connect(2). */
  readonly connectedBy: SocketNote['maker'];
  /** What the client has sent, of a connection that stays in the queue. */
  readonly messages: readonly Uint8Array[];
}

/** A name at which connections are accepted. */
export interface AddressPlan {
  /** The socket whose name it is: the listening one, or one that was accepted where that is closed. */
  readonly owner: SavedSocket;
  readonly isListening: boolean;
  readonly connections: ConnectionPlan[];
}

/** How all sockets are made. */
export interface SocketPlan {
  readonly pairs: readonly PairPlan[];
  readonly addresses: readonly AddressPlan[];
  /** Made by socket(2) alone; datagram sockets are connected later. */
  readonly singles: readonly SavedSocket[];
  /** Sockets that are bound by themselves. */
  readonly bound: readonly SavedSocket[];
}

/** What is to be known of the images beside the sockets that are made. */
export interface Surroundings {
  /** Looks up any socket of the images by inode. */
  find(ino: number): SavedSocket | undefined;
  /** Whether messages wait in a socket. */
  waits(socket: SavedSocket): boolean;
  /** The connections that wait in a listening socket, where more is known than the images have. */
  waitingIn(listener: SavedSocket): readonly WaitingConnection[];
}

/** Plans how sockets are made. */
export function planSockets(sockets: readonly SavedSocket[], around: Surroundings): SocketPlan {
  const { find, waits } = around;
  const ours = new Set(sockets);
  const inside = ({ entry }: SavedSocket): SavedSocket | undefined => {
    const peer = find(entry.peer);
    return peer && ours.has(peer) ? peer : undefined;
  };
  const accepted = new AcceptedNames(sockets);
  const isDatagram = ({ entry }: SavedSocket): boolean => entry.type === SOCK.DGRAM;
  const datagrams = planDatagrams(sockets.filter(isDatagram), inside, waits);
  const addresses = new Addresses();
  const { pairs, singles } = datagrams;
  const connected = sockets.filter((socket) => !isDatagram(socket));
  const listening = connected.filter(({ entry }) => entry.state === TCP_STATE.LISTEN);
  for (const socket of listening) addresses.listening(socket);
  const done = new Set<SavedSocket>();
  for (const socket of connected) {
    if (done.has(socket) || socket.entry.state === TCP_STATE.LISTEN) continue;
    const peer = inside(socket);
    if (peer?.entry.state === TCP_STATE.LISTEN) {
      addresses.of(peer).connections.push(connection(socket, undefined, peer));
    } else if (peer) {
      done.add(peer);
      const server = accepted.has(peer) ? peer : accepted.has(socket) ? socket : undefined;
      if (server) addresses.of(server).connections.push(connection(server === peer ? socket : peer, server));
      else pairs.push({ a: socket, b: peer, maker: socket.note.maker ?? peer.note.maker, apart: [] });
    } else if (socket.entry.state !== TCP_STATE.ESTABLISHED || find(socket.entry.peer)) {
      singles.push(socket); // not connected, or with somebody outside
    } else if (accepted.has(socket)) {
      addresses.of(socket).connections.push(connection(undefined, socket));
    } else {
      pairs.push({ a: socket, b: undefined, maker: socket.note.maker, apart: [] });
    }
  }
  for (const socket of listening) addUnseen(addresses.of(socket), around.waitingIn(socket));
  const bound = sockets.filter((socket) => socket.entry.name.length > 0 && !accepted.has(socket));
  return { pairs, singles, addresses: addresses.inOrder(), bound };
}

function connection(
  client: SavedSocket | undefined,
  server: SavedSocket | undefined,
  listener?: SavedSocket,
): ConnectionPlan {
  const [of, by] = [client?.note.maker, server?.note.maker];
  return {
    client,
    server,
    // Of two that tell the same, the note is with one only.
    listenedBy: of ?? (client ? by : undefined) ?? listener?.note.maker,
    connectedBy: by ?? (server ? of : undefined),
    messages: [],
  };
}

/** Adds what is known of the connections in a queue: who had connected, what was sent, and clients that are closed. */
function addUnseen({ owner, connections }: AddressPlan, waiting: readonly WaitingConnection[]): void {
  if (waiting.length === 0) return;
  const clients = new Map(connections.map((plan) => [plan.server ? -1 : plan.client?.note.place, plan]));
  const queue = waiting.map(({ place, maker, messages }) => {
    const known = clients.get(place) ?? connection(undefined, undefined, owner);
    return { ...known, connectedBy: maker, messages };
  });
  const accepted = connections.filter(({ server }) => server);
  connections.splice(0, connections.length, ...accepted, ...queue);
}

/** Which datagram sockets are made in pairs: those that could not be reached, or filled, otherwise. */
function planDatagrams(
  sockets: readonly SavedSocket[],
  inside: (socket: SavedSocket) => SavedSocket | undefined,
  waits: (socket: SavedSocket) => boolean,
): { pairs: PairPlan[]; singles: SavedSocket[] } {
  const isNamed = ({ entry }: SavedSocket): boolean => entry.name.length > 0;
  const pairs: PairPlan[] = [];
  const singles: SavedSocket[] = [];
  const done = new Set<SavedSocket>();
  const add = (pair: PairPlan): void => {
    pairs.push(pair);
    for (const end of [pair.a, pair.b]) if (end) done.add(end);
  };
  for (const socket of sockets) {
    const peer = inside(socket);
    if (!peer || peer === socket || done.has(socket) || done.has(peer)) continue;
    const isMutual = peer.entry.peer === socket.entry.ino;
    const maker = socket.note.maker ?? peer.note.maker;
    if (isMutual && (maker || !isNamed(socket) || !isNamed(peer))) add({ a: socket, b: peer, maker, apart: [] });
    // Nobody can connect to a socket without a name, so they were a pair.
    else if (!isMutual && !isNamed(peer)) add({ a: socket, b: peer, maker, apart: [peer] });
  }
  for (const socket of sockets) {
    if (done.has(socket)) continue;
    const { maker, widowed } = socket.note;
    if (widowed && (maker || !isNamed(socket))) add({ a: socket, b: undefined, maker, apart: [] });
    else if (waits(socket) && !isNamed(socket)) add({ a: socket, b: undefined, maker, apart: [socket] });
    else singles.push(socket);
  }
  return { pairs, singles };
}

/** Whether an entry stands for a socket outside of the tree. */
export function isOutside({ entry }: SavedSocket): boolean {
  return (entry.uflags & USK_EXTERN) !== 0;
}

/** What sockets with one name have in common. An abstract name, which begins with a zero, is of a network namespace. */
function addressKey({ entry, note }: SavedSocket): string {
  const where = entry.name[0] === 0 ? (entry.ns_id ?? 0) : (note.address ?? '');
  return `${entry.type} ${Buffer.from(entry.name).toString('hex')} ${where}`;
}

/** Tells which connected sockets have the name of the listening socket that they were accepted from. */
class AcceptedNames {
  readonly #listening: ReadonlySet<string>;

  constructor(sockets: readonly SavedSocket[]) {
    this.#listening = new Set(sockets.filter(({ entry }) => entry.state === TCP_STATE.LISTEN).map(addressKey));
  }

  has(socket: SavedSocket): boolean {
    const { entry, note } = socket;
    if (entry.type === SOCK.DGRAM || entry.state !== TCP_STATE.ESTABLISHED || entry.name.length === 0) return false;
    // In images of CRIU, which have no notes, it is one if somebody listens at that name.
    return note.accepted ?? this.#listening.has(addressKey(socket));
  }
}

/** The names at which connections are accepted. */
class Addresses {
  readonly #byKey = new Map<string, AddressPlan>();
  readonly #byListener = new Map<SavedSocket, AddressPlan>();

  listening(owner: SavedSocket): void {
    const plan = { owner, isListening: true, connections: [] };
    this.#byKey.set(addressKey(owner), plan);
    this.#byListener.set(owner, plan);
  }

  of(owner: SavedSocket): AddressPlan {
    const listening = this.#byListener.get(owner) ?? this.#byKey.get(addressKey(owner));
    if (listening) return listening;
    const plan = { owner, isListening: false, connections: [] };
    this.#byKey.set(addressKey(owner), plan);
    return plan;
  }

  /**
   * Those whose listening socket is closed come first, since their names may be in use again. Connections that wait
   * come last, in the order they wait in.
   */
  inOrder(): AddressPlan[] {
    const all = [...new Set([...this.#byKey.values(), ...this.#byListener.values()])];
    for (const { owner, connections } of all) {
      if (owner.note.waiting) continue; // in order
      const place = ({ client, server }: ConnectionPlan): number =>
        server ? -1 : (client?.note.place ?? client?.entry.ino ?? 0);
      connections.sort((one, other) => place(one) - place(other));
    }
    return all.sort((one, other) => Number(one.isListening) - Number(other.isListening));
  }
}

/** Types that there are. */
const TYPES: readonly number[] = [SOCK.STREAM, SOCK.DGRAM, SOCK.SEQPACKET];
/** Checks an entry against the others. @throws ImageError */
export function requireConsistent(socket: SavedSocket, peer: SavedSocket | undefined): void {
  const { entry } = socket;
  if (!TYPES.includes(entry.type)) throw imageError(entry, `there are no unix sockets of type ${entry.type}`);
  if (entry.name.length > UNIX_PATH_MAX) throw imageError(entry, `its name has ${entry.name.length} bytes`);
  if (entry.deleted && (entry.name.length === 0 || entry.name[0] === 0)) {
    throw imageError(entry, 'the file of its name was removed, but its name is no path');
  }
  if (entry.state === TCP_STATE.LISTEN && entry.name.length === 0 && !isOutside(socket)) {
    throw imageError(entry, 'it listens, and has no name');
  }
  if (entry.peer === 0) return;
  if (!peer) throw imageError(entry, `its peer socket:[${entry.peer}] is in no image`);
  if (peer.entry.type !== entry.type && !isOutside(peer)) throw imageError(entry, 'its peer is of another type');
  if (isOutside(peer) || entry.type === SOCK.DGRAM) return;
  const waits = peer.entry.state === TCP_STATE.LISTEN && entry.state === TCP_STATE.ESTABLISHED;
  if (!waits && (peer === socket || peer.entry.peer !== entry.ino)) {
    throw imageError(entry, 'its peer is not connected with it');
  }
}

/** An error in the entry of a socket. */
export function imageError(entry: UnixSkEntry, reason: string): ImageError {
  return new ImageError({ file: 'files.img', reason: `socket:[${entry.ino}]: ${reason}` });
}
