/** Carries out the plan of a restore's unix sockets: makes, binds and connects them. */
import { type LocalFd, localFd } from '../../../base/brands.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import type { UnixSkEntry } from '../../../images/schema/sockets.ts';
import { O } from '../../../kernel/constants/files.ts';
import { AF, SHUT, SOCK, SOMAXCONN, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { openFile } from '../../../kernel/files.ts';
import { encodeUnixAddress } from '../../../kernel/layouts/sockets.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { statusAt } from '../../../kernel/statx.ts';
import { ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { inSavedNetwork } from '../../../namespaces/networks.ts';
import { ownPath, placeOfEntry } from '../../../namespaces/places.ts';
import { widen } from '../../../network/socket-options.ts';
import { filePath } from './conflicts.ts';
import { send } from './fill.ts';
import {
  type AddressPlan,
  type ConnectionPlan,
  isOutside,
  type PairPlan,
  type SavedSocket,
  type SocketPlan,
} from './graph.ts';
import type { Makers, Target } from './makers.ts';
import { isPath } from './names.ts';
import { addressThrough, type Permissions, type Staging } from './staging.ts';

/** All sockets of a restore, made and not yet filled. */
export interface MadeSockets {
  /** Our descriptors by file ID. */
  readonly locals: Map<number, LocalFd>;
  /** The socket that a connected one is filled through, by the ID of that. */
  readonly others: Map<number, LocalFd>;
  /** Other ends that are closed when everything is filled, by the ID of the socket that stays. */
  readonly mates: Map<number, Fd>;
  /** IDs of datagram sockets that are connected with whom they are to be. */
  readonly together: Set<number>;
  /**
   * Ends of pairs that give up their connection, by ID, and what is filled through them before. What waits in them is
   * lost then, so they are filled later.
   */
  readonly parting: ReadonlyMap<number, number | undefined>;
  /** Descriptors (O_PATH) for the files of bound datagram sockets, by file ID. */
  readonly files: Map<number, Fd>;
  /** The address to connect to a socket from here; undefined if it has no name. */
  addressOf(socket: SavedSocket): Uint8Array | undefined;
}

/** Makes all sockets. `find` looks up a socket of the images by inode. @throws StasisError */
export function makeAll(
  plan: SocketPlan,
  find: (ino: number) => SavedSocket | undefined,
  makers: Makers,
  staging: Staging,
  context: RestoreContext,
): MadeSockets {
  const making = new Making(makers, staging, context);
  making.pairs(plan.pairs);
  for (const { entry } of plan.singles) making.locals.set(entry.id, unixSocket(entry, context));
  for (const { owner, isListening } of plan.addresses) {
    if (isListening) making.locals.set(owner.entry.id, unixSocket(owner.entry, context));
  }
  const [closed, listening] = [
    plan.addresses.filter((at) => !at.isListening),
    plan.addresses.filter((at) => at.isListening),
  ];
  for (const address of closed) making.acceptAtClosed(address);
  for (const address of listening) making.acceptAt(address);
  for (const socket of plan.bound) if (socket.entry.state !== TCP_STATE.LISTEN) making.bindFor(socket);
  for (const socket of plan.singles) {
    const peer = find(socket.entry.peer);
    if (peer && isOutside(peer) && socket.entry.type !== SOCK.DGRAM) making.reconnect(socket, peer);
  }
  return making;
}

/** A socket that does not block until its own flags are set, of the type and in the network namespace of an entry. */
function unixSocket({ type, ns_id }: UnixSkEntry, context: RestoreContext): LocalFd {
  const make = (): number => syscall('socket', AF.UNIX, type | SOCK.CLOEXEC | SOCK.NONBLOCK, 0);
  return localFd(inSavedNetwork(context, ns_id, make));
}

class Making implements MadeSockets {
  readonly locals = new Map<number, LocalFd>();
  readonly others = new Map<number, LocalFd>();
  readonly mates = new Map<number, Fd>();
  readonly together = new Set<number>();
  readonly parting = new Map<number, number | undefined>();
  readonly files = new Map<number, Fd>();
  readonly #makers: Makers;
  readonly #staging: Staging;
  readonly #context: RestoreContext;

  constructor(makers: Makers, staging: Staging, context: RestoreContext) {
    this.#makers = makers;
    this.#staging = staging;
    this.#context = context;
  }

  /** Makes pairs, those of one maker together. */
  pairs(pairs: readonly PairPlan[]): void {
    for (const lot of alike(pairs, ({ maker, a }) => `${this.#makers.key(maker, a)}, ${a.entry.ns_id}`)) {
      const [first] = lot;
      if (!first) continue;
      const types = lot.map(({ a }) => a.entry.type);
      const made = this.#makers.pairs(first.maker, first.a, types);
      lot.forEach((pair, i) => {
        const [one, other] = made[i] as readonly [Fd, Fd]; // one for each type
        this.#keepPair(pair, one, other);
      });
    }
  }

  #keepPair({ a, b, apart }: PairPlan, one: Fd, other: Fd): void {
    if (b) this.#connected(a, b, one.release(), other.release());
    else this.#withMate(a, one.release(), other);
    for (const end of [a, b]) if (end && !apart.includes(end)) this.together.add(end.entry.id);
    for (const { entry } of apart) this.parting.set(entry.id, entry.id === a.entry.id ? undefined : a.entry.id);
  }

  #connected(a: SavedSocket, b: SavedSocket, one: LocalFd, other: LocalFd): void {
    this.locals.set(a.entry.id, one).set(b.entry.id, other);
    this.others.set(a.entry.id, other).set(b.entry.id, one);
  }

  #withMate({ entry }: SavedSocket, local: LocalFd, mate: Fd): void {
    this.locals.set(entry.id, local);
    this.others.set(entry.id, mate.number);
    this.mates.set(entry.id, mate);
  }

  /** Makes the connections that were accepted at a name whose listening socket is closed. */
  acceptAtClosed(address: AddressPlan): void {
    using socket = new Fd(unixSocket(address.owner.entry, this.#context));
    using file = this.#bindForClosed(socket.number, address.owner);
    this.#accept(address, socket.number, file ?? rawAddress('getsockname', socket.number));
  }

  /** Makes the connections of a listening socket. */
  acceptAt(address: AddressPlan): void {
    const { entry, note } = address.owner;
    const local = this.locals.get(entry.id) as LocalFd; // made before
    using file = this.#bind(local, address.owner);
    this.#accept(address, local, file ?? encodeUnixAddress(entry.name));
    this.#makers.listen(note.maker, address.owner, local, entry.backlog);
  }

  /** Makes the connections of a listening socket, which is at a file or an abstract address. */
  #accept({ owner, connections }: AddressPlan, local: LocalFd, at: Fd | Uint8Array | undefined): void {
    const target: Target = at instanceof Fd ? { file: at.number } : { address: at ?? new Uint8Array() };
    let listening: string | undefined;
    const accepted = connections.filter(({ server }) => server);
    const waiting = connections.filter(({ server }) => !server);
    const keyOf = (one: ConnectionPlan): string => this.#keyOf(one, owner);
    for (const lot of [...alike(accepted, keyOf), ...runs(waiting, keyOf)]) {
      const [first] = lot;
      if (!first) continue;
      const holder = first.client ?? owner;
      const by = this.#makers.key(first.listenedBy, owner);
      if (by !== listening) this.#makers.listen(first.listenedBy, owner, local, SOMAXCONN);
      listening = by;
      // No more than the kernel lets wait, of which there may be few (net.core.somaxconn).
      for (let at = 0; at < lot.length; at += LOT) {
        this.#connectSome(lot.slice(at, at + LOT), first.connectedBy, holder, local, target);
      }
    }
  }

  #keyOf({ client, listenedBy, connectedBy }: ConnectionPlan, owner: SavedSocket): string {
    return `${listenedBy?.join(' ')}, ${this.#makers.key(connectedBy, client ?? owner)}`;
  }

  #connectSome(
    lot: readonly ConnectionPlan[],
    maker: ConnectionPlan['connectedBy'],
    holder: SavedSocket,
    listener: LocalFd,
    target: Target,
  ): void {
    const clients = lot.map((plan) => clientFor(plan, (plan.client ?? plan.server ?? holder).entry, this.#context));
    this.#makers.connect(maker, holder, clients, target);
    lot.forEach(({ client, server, messages }, i) => {
      const local = clients[i] as LocalFd; // one for each
      if (!server) {
        if (messages.length > 0) widen(local);
        for (const bytes of messages) send({ from: local }, bytes, new Uint8Array());
        if (client) this.locals.set(client.entry.id, local);
        else syscall('close', local);
        return;
      }
      const accepted = localFd(syscall('accept4', listener, 0, 0, SOCK.CLOEXEC));
      if (client) this.#connected(client, server, local, accepted);
      else this.#withMate(server, accepted, new Fd(local));
    });
  }

  /** Binds a socket to its own name. */
  bindFor(socket: SavedSocket): void {
    const local = this.locals.get(socket.entry.id) as LocalFd; // all are made
    const file = this.#bind(local, socket);
    if (file) this.files.set(socket.entry.id, file);
  }

  /** Where the file of a socket belongs, as a path of Stasis. */
  #pathOf(socket: SavedSocket): string {
    return ownPath(placeOfEntry(socket.entry, this.#context), filePath(socket), this.#context);
  }

  /** The permissions of a file, with its owner as we see it. */
  #permissionsOf(saved: SavedSocket['entry']['file_perms']): Permissions | undefined {
    const { ids } = this.#context;
    return saved && { mode: saved.mode, uid: ids.uidHere(saved.uid), gid: ids.gidHere(saved.gid) };
  }

  #bind(local: LocalFd, socket: SavedSocket): Fd | undefined {
    const { name, deleted, file_perms } = socket.entry;
    const permissions = this.#permissionsOf(file_perms);
    if (isPath(name))
      return this.#staging.bind(local, name, this.#pathOf(socket), { deleted: deleted === true, permissions });
    const address = encodeUnixAddress(name);
    syscall('bind', local, address, address.length);
    return undefined;
  }

  /**
   * Binds a socket to the name of a listening socket that is closed, or outside of the tree: then its file stays, and
   * its abstract name cannot be had a second time.
   */
  #bindForClosed(local: LocalFd, owner: SavedSocket): Fd | undefined {
    const { name, deleted, file_perms } = owner.entry;
    const permissions = this.#permissionsOf(file_perms);
    if (isPath(name)) {
      const path = this.#pathOf(owner);
      const isGone = deleted === true || statusAt(path) !== undefined;
      return this.#staging.bind(local, name, path, { deleted: isGone, permissions });
    }
    const address = encodeUnixAddress(name);
    const result = trySyscall('bind', local, address, address.length);
    if (result === 0) return undefined;
    if (result !== -ERRNO.EADDRINUSE) throw new SyscallError('bind', -result, { resource: showUnixName(name) });
    const none = encodeUnixAddress(new Uint8Array());
    syscall('bind', local, none, none.length); // the kernel chooses an abstract name (unix_autobind())
    const reason = 'somebody listens at that name; sockets that were accepted there have another name now';
    this.#context.notice({ resource: showUnixName(name), reason });
    return undefined;
  }

  /** Connects a socket with a peer outside of the tree. */
  reconnect(socket: SavedSocket, peer: SavedSocket): void {
    const local = this.locals.get(socket.entry.id) as LocalFd; // made before
    const { name } = peer.entry;
    using file = isPath(name) ? openFile(this.#pathOf(peer), O.PATH | O.CLOEXEC) : undefined;
    const target: Target = file ? { file: file.number } : { address: encodeUnixAddress(name) };
    this.#makers.connect(this.#makers.itself(socket), socket, [local], target);
  }

  addressOf(socket: SavedSocket): Uint8Array | undefined {
    const { id, name } = socket.entry;
    if (name.length === 0) return undefined;
    if (!isPath(name)) return encodeUnixAddress(name);
    if (isOutside(socket)) this.files.set(id, this.files.get(id) ?? openFile(this.#pathOf(socket), O.PATH | O.CLOEXEC));
    const file = this.files.get(id);
    return file && addressThrough(file.number);
  }
}

/** Connections that wait at the same time. */
const LOT = 100;

/** The socket of a client before it is connected; `like` is one of its type and of its network namespace. */
function clientFor({ client, server }: ConnectionPlan, like: UnixSkEntry, context: RestoreContext): LocalFd {
  const local = unixSocket(like, context);
  // A direction that the other end does not know of was shut down before the connection was made.
  const mirrored = swapped(server?.entry.shutdown ?? 0);
  const early = server ? (client?.entry.shutdown ?? 0) & ~mirrored : 0;
  if (early & 1) syscall('shutdown', local, SHUT.RD);
  if (early & 2) syscall('shutdown', local, SHUT.WR);
  return local;
}

/** What one end has shut down, as the other end sees it. */
const swapped = (directions: number): number => ((directions & 1) << 1) | ((directions & 2) >> 1);

/** Groups those with the same key, in the order of their first ones. */
function alike<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}

/** Groups neighbours with the same key. */
function runs<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups: T[][] = [];
  let last: string | undefined;
  for (const item of items) {
    const key = keyOf(item);
    if (key === last) groups.at(-1)?.push(item);
    else groups.push([item]);
    last = key;
  }
  return groups;
}
