/** Makes unix sockets again. */

import { toBase64 } from '../../../base/base64.ts';
import { type LocalFd, localFd } from '../../../base/brands.ts';
import { addTo } from '../../../base/lists.ts';
import type { RestoreContext, RestoreEnd, RestoreTask } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { UnixSkEntry } from '../../../images/schema/sockets.ts';
import { AF, SHUT, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { duplicate } from '../../../kernel/files.ts';
import { encodeUnixAddress } from '../../../kernel/layouts/sockets.ts';
import { rawAddress } from '../../../kernel/socket-facts.ts';
import { setNumber } from '../../../kernel/sockets.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { inSavedNetwork } from '../../../namespaces/networks.ts';
import { restoreForgotten, restoreOptions } from '../../../network/socket-options.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';
import { inheritedFd } from '../../../support/inherited.ts';
import { requireNamesFree, requireThere } from './conflicts.ts';
import { DatagramSenders } from './datagrams.ts';
import { fill, type Queued, readQueues, send } from './fill.ts';
import { isOutside, planSockets, requireConsistent, type SavedSocket, type SocketPlan } from './graph.ts';
import { type MadeSockets, makeAll } from './make.ts';
import { Makers } from './makers.ts';
import { noteOf } from './notes.ts';
import { withAnswers } from './own-socket.ts';
import { requireAllowed, resetIfAsked } from './peers.ts';
import { Staging } from './staging.ts';
import { readWaiting } from './waiting.ts';

/** The arguments of shutdown(2) for the directions in an image. */
const HOW: readonly (number | undefined)[] = [undefined, SHUT.RD, SHUT.WR, SHUT.RDWR];

/** The unix sockets of a restore. */
export class Sockets {
  readonly #context: RestoreContext;
  /** Those of the tree that are made, without those given by --inherit-fd. */
  readonly #sockets: readonly SavedSocket[];
  readonly #byIno: ReadonlyMap<number, SavedSocket>;
  readonly #queues: ReadonlyMap<number, Queued[]>;
  readonly #tasks: RestoreTask[] = [];
  readonly #staging = new Staging();
  #plan: SocketPlan | undefined;
  #made: MadeSockets | undefined;
  #isComplete = false;
  /** IDs of sockets that have been handed out, whose descriptors belong to the context. */
  readonly #given = new Set<number>();

  private constructor(context: RestoreContext) {
    this.#context = context;
    const entries = [...context.fileEntries.values()].flatMap(({ usk }) => usk ?? []);
    const saved = entries.map((entry) => ({ entry, note: noteOf(context, entry.id) }));
    const { sockets, queues } = withAnswers(saved, entries.length > 0 ? readQueues(context) : new Map());
    const all = resetIfAsked(sockets, context.options);
    this.#queues = queues;
    this.#byIno = new Map(all.map((socket) => [socket.entry.ino, socket]));
    this.#sockets = all.filter((socket) => !isOutside(socket) && this.#inherited(socket.entry) === undefined);
    for (const socket of this.#sockets) requireConsistent(socket, this.#byIno.get(socket.entry.peer));
    context.atEnd(() => this.#close());
  }

  static readonly #slot = new Slot((context: RestoreContext) => new Sockets(context));

  /** The sockets of this restore. @throws StasisError (image, unsupported) for entries that cannot be restored */
  static of(context: RestoreContext): Sockets {
    return Sockets.#slot.of(context);
  }

  /** The sockets if anybody has asked for them. */
  static ifMade(context: RestoreContext): Sockets | undefined {
    return Sockets.#slot.ifMade(context);
  }

  /** Finds everything that is in the way. @throws StasisError */
  prepare(): void {
    if (this.#sockets.length === 0) return;
    const { options } = this.#context;
    for (const socket of this.#sockets) {
      const peer = this.#byIno.get(socket.entry.peer);
      if (!peer || !isOutside(peer)) continue;
      requireAllowed(socket, peer, this.#queues.has(socket.entry.id), options);
      requireThere(peer, this.#context);
    }
    this.#plan = planSockets(this.#sockets, {
      find: (ino) => this.#byIno.get(ino),
      waits: ({ entry }) => this.#queues.has(entry.id),
      waitingIn: ({ entry, note }) => (note.waiting ? readWaiting(this.#context, entry.id) : []),
    });
    requireNamesFree(this.#plan.bound, this.#context);
  }

  /** A task that sockets can be made in. */
  addTask(task: RestoreTask): void {
    if (this.#sockets.length > 0) this.#tasks.push(task);
  }

  /**
   * Makes and connects all sockets, when all tasks are there and have neither descriptors nor directories of their own.
   */
  make(): void {
    const plan = this.#plan;
    if (!plan) return;
    using makers = new Makers(this.#context, this.#tasks);
    this.#made = makeAll(plan, (ino) => this.#byIno.get(ino), makers, this.#staging, this.#context);
    this.#staging.publish();
  }

  /** A socket of the tree. The caller owns the descriptor. */
  take(entry: UnixSkEntry): LocalFd {
    const inherited = this.#inherited(entry);
    if (inherited !== undefined) {
      if (this.#queues.has(entry.id)) {
        const reason = 'what waited in it at the dump is not in the socket given by --inherit-fd';
        this.#context.notice({ resource: `socket:[${entry.ino}]`, reason });
      }
      return localFd(duplicate(inherited).release());
    }
    this.#complete();
    this.#given.add(entry.id);
    return this.#local(entry.id);
  }

  /** Removes what a failed restore has left. */
  end(how: RestoreEnd): void {
    this.#staging[Symbol.dispose]();
    if (how === 'failed') this.#staging.rollBack();
  }

  #inherited({ ino }: UnixSkEntry): LocalFd | undefined {
    return inheritedFd(this.#context, `socket:[${ino}]`);
  }

  #local(id: number): LocalFd {
    return this.#made?.locals.get(id) as LocalFd; // all were made before anybody asks for one
  }

  /** Fills all queues, connects datagram sockets, and sets options. Sockets in messages are there already. */
  #complete(): void {
    const made = this.#made;
    if (this.#isComplete || !made) return;
    this.#isComplete = true;
    this.#fillAll(made);
    this.#connectDatagrams(made);
    for (const { entry, note } of this.#sockets) {
      const mate = made.mates.get(entry.id);
      // The other end is closed with unread data if the saved one was.
      if (mate && note.reset) send({ from: this.#local(entry.id) }, new Uint8Array(1), new Uint8Array());
      mate?.[Symbol.dispose]();
    }
    for (const socket of this.#sockets) this.#finish(socket);
    for (const file of made.files.values()) file[Symbol.dispose]();
    this.#staging.publish();
  }

  /** Fills all queues, in an order in which everybody may send who has to. */
  #fillAll(made: MadeSockets): void {
    using senders = new DatagramSenders(this.#sockets, made, this.#staging, this.#context);
    const byId = new Map(this.#sockets.map((socket) => [socket.entry.id, socket]));
    const filled = new Set<SavedSocket>();
    for (const [id, before] of made.parting) {
      const socket = byId.get(before ?? -1);
      if (socket) this.#fill(socket, made, senders);
      if (socket) filled.add(socket);
      disconnect(this.#local(id));
    }
    for (const [one, other] of this.#mutualByName(made)) this.#connectEarly(one, other, made);
    for (const socket of this.#sockets) if (!filled.has(socket)) this.#fill(socket, made, senders);
  }

  #fill(socket: SavedSocket, made: MadeSockets, senders: DatagramSenders): void {
    const { id, type } = socket.entry;
    const queue = this.#queues.get(id);
    if (!queue) return;
    const other = made.others.get(id);
    const isDatagram = type === SOCK.DGRAM;
    const originOf = isDatagram ? senders.originsFor(socket, other) : () => ({ from: other ?? this.#local(id) });
    const context = this.#context;
    fill(socket, queue, originOf, (file) => context.openCarried(file), {
      hostPid: (pid) => context.hostPid(pid),
      ids: context.ids,
    });
  }

  /** Datagram sockets that are connected with each other by name, and have messages of each other only. */
  #mutualByName(made: MadeSockets): (readonly [SavedSocket, SavedSocket])[] {
    const hasOthers = ({ entry, note }: SavedSocket, peer: SavedSocket): boolean => {
      const sources = new Map(note.sources);
      const name = toBase64(peer.entry.name);
      return (this.#queues.get(entry.id) ?? []).some((_, place) => sources.get(place) !== name);
    };
    return this.#sockets.flatMap((socket) => {
      const peer = this.#byIno.get(socket.entry.peer);
      if (!peer || socket.entry.type !== SOCK.DGRAM || made.together.has(socket.entry.id)) return [];
      const isMutual = peer.entry.peer === socket.entry.ino && socket.entry.ino < peer.entry.ino;
      return isMutual && !hasOthers(socket, peer) && !hasOthers(peer, socket) ? [[socket, peer] as const] : [];
    });
  }

  /**
   * Connects two datagram sockets before they are filled: no limit holds for messages of a peer that is connected as
   * well (unix_dgram_sendmsg() in net/unix/af_unix.c).
   */
  #connectEarly(one: SavedSocket, other: SavedSocket, made: MadeSockets): void {
    for (const [socket, peer] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#connectDatagram(socket, made);
      made.others.set(socket.entry.id, this.#local(peer.entry.id));
    }
    for (const { entry } of [one, other]) made.together.add(entry.id);
  }

  /**
   * Connects datagram sockets. Nobody can be connected with a socket that sends to somebody else (unix_may_send() in
   * net/unix/af_unix.c), so those that send to it come first.
   */
  #connectDatagrams(made: MadeSockets): void {
    const datagrams = this.#sockets.filter(({ entry }) => entry.type === SOCK.DGRAM);
    const senders = new Map<number, SavedSocket[]>();
    for (const socket of datagrams) addTo(senders, socket.entry.peer, socket);
    const done = new Set<SavedSocket>();
    const connect = (socket: SavedSocket): void => {
      if (done.has(socket)) return;
      done.add(socket);
      for (const sender of senders.get(socket.entry.ino) ?? []) connect(sender);
      this.#connectDatagram(socket, made);
    };
    for (const socket of datagrams) connect(socket);
  }

  /** Connects a datagram socket with whom it sends to, unless they were made together. */
  #connectDatagram({ entry, note }: SavedSocket, made: MadeSockets): void {
    if (entry.type !== SOCK.DGRAM || made.together.has(entry.id)) return;
    const peer = this.#byIno.get(entry.peer);
    const address = peer && made.addressOf(peer);
    if (address) syscall('connect', this.#local(entry.id), address, address.length);
    else if (note.widowed) inSavedNetwork(this.#context, entry.ns_id, () => connectWithNobody(this.#local(entry.id)));
  }

  #finish({ entry, note }: SavedSocket): void {
    const local = this.#local(entry.id);
    restoreOptions(local, entry.opts);
    if (entry.opts.reuseaddr) setNumber(local, SO.REUSEADDR, 1);
    const how = HOW[entry.shutdown ?? 0];
    if (how !== undefined) syscall('shutdown', local, how);
    restoreForgotten(local, note.options);
    setFlagsAndOwner(local, entry.flags, entry.fown, this.#context);
  }

  #close(): void {
    const made = this.#made;
    if (!made) return;
    for (const [id, local] of made.locals) if (!this.#given.has(id)) trySyscall('close', local);
    for (const fd of [...made.mates.values(), ...made.files.values()]) fd[Symbol.dispose]();
  }
}

/** Connects a datagram socket with one that is closed at once. */
function connectWithNobody(local: LocalFd): void {
  using peer = new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  const none = encodeUnixAddress(new Uint8Array());
  syscall('bind', peer.number, none, none.length); // the kernel chooses an abstract name (unix_autobind())
  const address = rawAddress('getsockname', peer.number) ?? none;
  syscall('connect', local, address, address.length);
}

/** Gives up the connection of a datagram socket. */
function disconnect(local: LocalFd): void {
  const unspecified = new Uint8Array(2);
  syscall('connect', local, unspecified, unspecified.length);
}
