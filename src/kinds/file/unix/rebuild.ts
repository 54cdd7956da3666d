/** Makes unix sockets again: pairs, their unread messages, their options, and sockets whose peer is closed. */

import { type LocalFd, localFd } from '../../../base/brands.ts';
import type { ErrorCode } from '../../../base/error-codes.ts';
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import type { RestoreContext, RestoreTask } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { SkPacketEntry, UnixSkEntry } from '../../../images/schema/sockets.ts';
import { TaskState } from '../../../images/schema/task.ts';
import { AF, MSG, SCM, SHUT, SK_STATE, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { encodeControl, type Ucred } from '../../../kernel/layouts/sockets.ts';
import { showUnixName } from '../../../kernel/socket-address.ts';
import { setNumber, socketPair, trySendMessage } from '../../../kernel/sockets.ts';
import { type Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { restoreForgotten, restoreOptions, widen } from '../../../network/socket-options.ts';
import { setFlagsAndOwner } from '../../../support/fown.ts';
import { noteOf, type SocketNote } from './notes.ts';

/** A message of sk-queues.img. */
interface Queued {
  readonly message: SkPacketEntry;
  readonly bytes: Uint8Array;
}

/** A pair to be made by a task. */
export interface PairRequest {
  readonly type: number;
  readonly maker: SocketNote['maker'];
  readonly deliver: (pair: readonly [Fd, Fd]) => void;
}

/** The arguments of shutdown(2) for the directions in an image. */
const HOW: readonly (number | undefined)[] = [undefined, SHUT.RD, SHUT.WR, SHUT.RDWR];

/** The unix sockets of a restore. */
export class Sockets {
  readonly #context: RestoreContext;
  readonly #byIno: ReadonlyMap<number, UnixSkEntry>;
  readonly #queues = new Map<number, Queued[]>();
  /** Descriptors of the sockets made, by file ID. Those that have been handed out belong to the context. */
  readonly #made = new Map<number, LocalFd>();
  readonly #given = new Set<number>();
  /** Sockets whose pairs have not been requested from a task yet. */
  readonly #wanting: Set<UnixSkEntry>;
  /** Whether makers are in the images as living processes, for those looked up so far. */
  readonly #living = new Map<number, boolean>();
  /** Pairs made in a task, by the ID of one end, which is the first of the two. */
  readonly #delivered = new Map<number, readonly [Fd, Fd]>();

  private constructor(context: RestoreContext) {
    this.#context = context;
    const entries = [...context.fileEntries.values()].flatMap(({ usk }) => (usk ? [usk] : []));
    this.#byIno = new Map(entries.map((entry) => [entry.ino, entry]));
    for (const entry of entries) requireKnown(entry, this.#byIno.get(entry.peer));
    for (const { message, extra } of entries.length > 0 ? context.images.readEntries(Images.skQueues) : []) {
      const queue = this.#queues.get(message.id_for) ?? [];
      queue.push({ message, bytes: extra ?? new Uint8Array() });
      this.#queues.set(message.id_for, queue);
    }
    // For each pair the end with the lower ID; sockets that were never connected need no pair.
    this.#wanting = new Set(
      entries.filter(({ id, peer, state }) => {
        const other = this.#byIno.get(peer);
        return other ? id < other.id : state === SK_STATE.ESTABLISHED;
      }),
    );
    context.atEnd(() => this.#close());
  }

  static readonly #slot = new Slot((context: RestoreContext) => new Sockets(context));

  /** The sockets of this restore. @throws StasisError (image, unsupported) for entries that cannot be restored */
  static of(context: RestoreContext): Sockets {
    return Sockets.#slot.of(context);
  }

  /**
   * The pairs that a task has to make: those it had made, and those whose makers have ended or are unknown if it is the
   * first task that has them. Each pair is returned once.
   */
  requestsOf(task: RestoreTask): PairRequest[] {
    if (this.#wanting.size === 0) return [];
    const own = new Set(task.fds.map(({ id }) => id));
    const requests: PairRequest[] = [];
    for (const entry of this.#wanting) {
      const peer = this.#byIno.get(entry.peer);
      const { maker } = { ...(peer && noteOf(this.#context, peer.id)), ...noteOf(this.#context, entry.id) };
      const has = own.has(entry.id) || (peer !== undefined && own.has(peer.id));
      if (maker && this.#lives(maker[0]) ? maker[0] !== task.pid : !has) continue;
      this.#wanting.delete(entry);
      requests.push({ type: entry.type, maker, deliver: (pair) => void this.#delivered.set(entry.id, pair) });
    }
    return requests;
  }

  /** Whether a process is in the images as a living one. */
  #lives(pid: number): boolean {
    let is = this.#living.get(pid);
    if (is === undefined) {
      const { images } = this.#context;
      const isThere = images.read(Images.pstree).some((tree) => tree.pid === pid);
      is = isThere && images.readOne(Images.core, pid).tc?.task_state !== TaskState.DEAD;
      this.#living.set(pid, is);
    }
    return is;
  }

  /** A socket. It is made together with its peer when the first of both is needed. The caller owns the descriptor. */
  take(entry: UnixSkEntry): LocalFd {
    const local = this.#ensure(entry);
    this.#given.add(entry.id);
    return local;
  }

  #ensure(entry: UnixSkEntry): LocalFd {
    const made = this.#made.get(entry.id);
    if (made !== undefined) return made;
    const peer = this.#byIno.get(entry.peer);
    if (peer) this.#makePair(entry, peer);
    else if (entry.state === SK_STATE.ESTABLISHED) this.#makeOrphan(entry);
    else this.#makeSingle(entry);
    return this.#made.get(entry.id) as LocalFd; // all three branches make it
  }

  #makePair(a: UnixSkEntry, b: UnixSkEntry): void {
    const [one, other] = this.#pairFor(a, b);
    // Recorded before the queues are filled, since messages may carry these sockets themselves.
    this.#made.set(a.id, one.release());
    this.#made.set(b.id, other.release());
    const [at, to] = [this.#local(a), this.#local(b)];
    this.#fill(b, at);
    this.#fill(a, to);
    for (const [entry, local] of [[a, at] as const, [b, to] as const]) this.#finish(entry, local);
  }

  /** A pair, from a task if one has made it. */
  #pairFor(a: UnixSkEntry, b?: UnixSkEntry): readonly [Fd, Fd] {
    const pair = this.#delivered.get(a.id);
    const turned = b && this.#delivered.get(b.id);
    this.#delivered.delete(pair ? a.id : (b?.id ?? a.id));
    if (pair) return pair;
    return turned ? [turned[1], turned[0]] : socketPair(AF.UNIX, a.type);
  }

  /**
   * Makes a socket whose peer is closed: the peer first sends the unread messages, and is closed with unread data if
   * the saved one was.
   */
  #makeOrphan(entry: UnixSkEntry): void {
    const [one, peer] = this.#pairFor(entry);
    using other = peer;
    const local = one.release();
    this.#made.set(entry.id, local);
    this.#fill(entry, other.number);
    if (noteOf(this.#context, entry.id).reset) send(local, new Uint8Array(1), new Uint8Array());
    other[Symbol.dispose]();
    this.#finish(entry, local);
  }

  #makeSingle(entry: UnixSkEntry): void {
    if (this.#queues.has(entry.id)) throw imageError(entry, 'messages wait in a socket that is connected with none');
    const local = localFd(syscall('socket', AF.UNIX, entry.type | SOCK.CLOEXEC, 0));
    this.#made.set(entry.id, local);
    this.#finish(entry, local);
  }

  #local(entry: UnixSkEntry): LocalFd {
    return this.#made.get(entry.id) as LocalFd; // just made
  }

  /** Fills the queue of `entry` again, by sending through the other end. */
  #fill(entry: UnixSkEntry, from: LocalFd): void {
    const queue = this.#queues.get(entry.id);
    if (!queue) return;
    this.#queues.delete(entry.id);
    widen(from);
    const senders = new Map(noteOf(this.#context, entry.id).senders?.map(([place, ...who]) => [place, who]));
    queue.forEach(({ message, bytes }, place) => {
      const rights = message.scm.flatMap(({ type, rights }) => {
        if (type !== SCM.RIGHTS) throw imageError(entry, `a message has control data of type ${type}`);
        return rights.map((id) => this.#carried(id, entry));
      });
      const [pid = 0, uid = 0, gid = 0] = senders.get(place) ?? [];
      sendMessage(from, bytes, rights, pid > 0 ? { pid, uid, gid } : undefined);
    });
  }

  /**
   * A descriptor for a file in a message. Sockets may contain each other in cycles, so they are looked up here and not
   * through the context.
   */
  #carried(id: number, holder: UnixSkEntry): LocalFd {
    const entry = this.#context.fileEntries.get(id);
    if (!entry) throw imageError(holder, `a message carries file ${id}, which is in no image`);
    return entry.usk ? this.#ensure(entry.usk) : this.#context.open(id);
  }

  #finish(entry: UnixSkEntry, local: LocalFd): void {
    restoreOptions(local, entry.opts);
    if (entry.opts.reuseaddr) setNumber(local, SO.REUSEADDR, 1);
    const how = HOW[entry.shutdown ?? 0];
    if (how !== undefined) syscall('shutdown', local, how);
    restoreForgotten(local, noteOf(this.#context, entry.id).options);
    setFlagsAndOwner(local, entry.flags, entry.fown, this.#context);
  }

  #close(): void {
    for (const [id, local] of this.#made) if (!this.#given.has(id)) trySyscall('close', local);
    for (const fd of [...this.#delivered.values()].flat()) fd[Symbol.dispose]();
  }
}

/** Sends a message with its descriptors, and with the credentials of its sender if that is still possible. */
function sendMessage(from: LocalFd, bytes: Uint8Array, rights: readonly number[], sender: Ucred | undefined): void {
  if (sender && trySend(from, bytes, encodeControl(rights, sender)) === bytes.length) return;
  // The kernel answers ESRCH if the process has ended.
  if (sender)
    logWarn('unix', `process ${sender.pid} is not there: a message it had sent comes without its credentials`);
  send(from, bytes, encodeControl(rights));
}

function send(from: LocalFd, bytes: Uint8Array, control: Uint8Array): void {
  const got = trySend(from, bytes, control);
  if (got !== bytes.length) throw new SyscallError('sendmsg', got < 0 ? -got : 11);
}

function trySend(from: LocalFd, bytes: Uint8Array, control: Uint8Array): number {
  return trySendMessage(from, bytes, control, MSG.DONTWAIT | MSG.NOSIGNAL);
}

/** Refuses sockets that are not supported, or that cannot be restored. */
function requireKnown(entry: UnixSkEntry, peer: UnixSkEntry | undefined): void {
  const refuse = (code: ErrorCode, what: string): StasisError =>
    new StasisError({
      kind: 'unsupported',
      code,
      resource: `socket:[${entry.ino}]`,
      reason: `${what} are not restored yet`,
    });
  if (entry.name.length > 0)
    throw refuse('SOCKET_UNIX_NAMED', `unix sockets with a name (${showUnixName(entry.name)})`);
  if (entry.state === SK_STATE.LISTEN) throw refuse('SOCKET_UNIX_LISTENING', 'listening unix sockets');
  if (entry.uflags !== 0)
    throw refuse('SOCKET_UNIX_OUTSIDE', 'unix sockets connected with processes that are in no image');
  const types: readonly number[] = [SOCK.STREAM, SOCK.DGRAM, SOCK.SEQPACKET];
  if (!types.includes(entry.type)) throw imageError(entry, `there are no unix sockets of type ${entry.type}`);
  if (entry.peer !== 0 && !peer) throw imageError(entry, `its peer socket:[${entry.peer}] is in no image`);
  if (peer && (peer === entry || peer.peer !== entry.ino || peer.type !== entry.type)) {
    throw imageError(entry, 'its peer is not connected with it');
  }
}

function imageError(entry: UnixSkEntry, reason: string): ImageError {
  return new ImageError({ file: 'files.img', reason: `socket:[${entry.ino}]: ${reason}` });
}
