/**
 * The unix sockets of a tree: their connections and, when the tree is frozen, their unread messages. Messages may carry
 * sockets that no task has open; these belong to the tree as well.
 */

import { type LocalFd, localFd, NO_FD } from '../../../base/brands.ts';
import { decodeText } from '../../../base/text.ts';
import type { OpenFile, SeenRef, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { O } from '../../../kernel/constants/files.ts';
import { AF, SOCK, TCP_STATE } from '../../../kernel/constants/sockets.ts';
import { tryReadLink } from '../../../kernel/files.ts';
import type { UnixSocket } from '../../../kernel/netlink/unix-diag.ts';
import { parseFdHead } from '../../../kernel/proc/fdinfo.ts';
import { readProc, readProcLink } from '../../../kernel/proc/read.ts';
import { socketHolders } from '../../../kernel/socket-peers.ts';
import { domainOf } from '../../../kernel/sockets.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { trySyscall } from '../../../kernel/syscall.ts';
import { UnixFacts } from './facts.ts';
import { collectGarbage } from './garbage.ts';
import type { Packet } from './peek-buffers.ts';
import { peekQueues } from './queue.ts';

/** Whether an open file is a unix socket. */
export function isUnixSocket(file: OpenFile): boolean {
  return file.socketDomain() === AF.UNIX;
}

/** An unread message with the open files it carries. */
export interface Message extends Omit<Packet, 'rights'> {
  readonly files: readonly OpenFile[];
}

export class Survey {
  readonly #tree: SeenTree;
  readonly #facts: UnixFacts;
  /** The sockets of the tree, by inode. */
  readonly #own = new Map<number, OpenFile>();
  readonly #queues = new Map<number, readonly Message[]>();
  /** The listening socket that a connection waits in, and its place there, by the inode of its client. */
  #waiting: Map<number, { readonly listener: UnixSocket; readonly place: number }> | undefined;
  /** How many sockets have each file, or listen at each abstract name. */
  #namesakes: Map<string, number> | undefined;
  /** Whether sockets that no task has open may be in messages, for those asked about in a running tree. */
  readonly #strangers = new Map<number, boolean>();
  #isComplete = false;

  private constructor(tree: SeenTree) {
    this.#tree = tree;
    for (const file of tree.tasks.flatMap(({ fds }) => fds)) if (isUnixSocket(file)) this.#own.set(file.stat.ino, file);
    this.#facts = new UnixFacts(tree, this.#own.size);
  }

  static readonly #slot = new Slot((tree: SeenTree) => new Survey(tree));

  /** The survey of a snapshot of a tree. @throws StasisError */
  static of(tree: SeenTree): Survey {
    return Survey.#slot.of(tree);
  }

  /** The survey if it was made. */
  static ifMade(tree: SeenTree): Survey | undefined {
    return Survey.#slot.ifMade(tree);
  }

  /** The kernel's information about a socket; undefined if it is in a network namespace that is not carried. */
  socket(ino: number): UnixSocket | undefined {
    return this.#facts.socket(ino);
  }

  /** The ID of the network namespace of a socket that the kernel has told of. */
  networkOf(ino: number): number {
    return this.#facts.networkOf(ino);
  }

  /** The listening socket that the connection of a client waits in, and its place there. */
  waitingIn(ino: number): { readonly listener: UnixSocket; readonly place: number } | undefined {
    if (!this.#waiting) {
      this.#waiting = new Map();
      for (const listener of this.#facts.listening()) {
        for (const [place, client] of listener.pending.entries()) this.#waiting.set(client, { listener, place });
      }
    }
    return this.#waiting.get(ino);
  }

  /**
   * Whether the name of a connected socket is that of the listening socket it was accepted from: another socket has
   * that too.
   */
  isAccepted(socket: UnixSocket): boolean {
    const key = this.#nameKey(socket);
    if (key === undefined) return false;
    if (!this.#namesakes) {
      this.#namesakes = new Map();
      for (const other of this.#facts.all()) {
        const its = this.#nameKey(other);
        if (its !== undefined) this.#namesakes.set(its, (this.#namesakes.get(its) ?? 0) + 1);
      }
    }
    return (this.#namesakes.get(key) ?? 0) > 1;
  }

  /** What sockets with one name have in common, by which it is known: the file, or the abstract name. */
  #nameKey({ name, file, type, ino }: UnixSocket): string | undefined {
    if (!name || type === SOCK.DGRAM) return undefined;
    return file ? `${file.dev}:${file.ino}` : `${this.networkOf(ino)} ${type} ${decodeText(name)}`;
  }

  /** Whether a connection waits in a listening socket whose client has sent something, or is closed. */
  hasUnseen({ pending }: UnixSocket): boolean {
    return pending.some((ino) => ino === 0 || (this.#own.has(ino) && (this.#facts.socket(ino)?.sendQueue ?? 0) > 0));
  }

  /** Directories that a relative name may be relative to, of the tasks that have the socket. */
  directoriesOf(ino: number): string[] {
    const pids = this.#tree.tasks.filter(({ fds }) => fds.some(({ stat }) => stat.ino === ino)).map(({ pid }) => pid);
    const links = pids.flatMap((pid) => [`/proc/${pid}/cwd`, `/proc/${pid}/root`]).map(tryReadLink);
    return [...new Set(links.filter((link) => typeof link === 'string'))];
  }

  /**
   * Whether a socket belongs to the tree. In a running tree sockets inside of messages are unknown, so a socket that no
   * process has open may belong to it if there are unread messages.
   */
  mayHave(ino: number): boolean {
    this.#complete();
    if (this.#own.has(ino)) return true;
    return !this.#tree.frozen && this.#mayBeUnderWay(ino);
  }

  #mayBeUnderWay(ino: number): boolean {
    let may = this.#strangers.get(ino);
    if (may === undefined) {
      const isUnread = [...this.#own.keys()].some((own) => (this.#facts.socket(own)?.receiveQueue ?? 0) > 0);
      may = isUnread && !socketHolders(new Set([ino])).has(ino);
      this.#strangers.set(ino, may);
      // When the tree is frozen, it must be in a message, or not be there.
      if (may) collectGarbage(ino);
    }
    return may;
  }

  /** Sockets of the tree that no task has open. */
  get underWay(): OpenFile[] {
    this.#complete();
    return [...this.#own.values()].filter(({ fd }) => fd < 0);
  }

  /** The unread messages of a socket; none for a running tree. @throws StasisError */
  queue(ino: number): readonly Message[] {
    this.#complete();
    return this.#queues.get(ino) ?? [];
  }

  /** Closes our descriptors for the files in messages. */
  close(): void {
    for (const { files } of [...this.#queues.values()].flat())
      for (const { local } of files) trySyscall('close', local);
    this.#queues.clear();
  }

  /** Reads all queues, and those of the sockets found in them. */
  #complete(): void {
    if (this.#isComplete || !this.#tree.frozen) return;
    this.#isComplete = true;
    for (let files = [...this.#own.values()]; files.length > 0; ) files = this.#read(files);
  }

  /** Reads the queues of some sockets. Returns the sockets in them that were not known. */
  #read(files: readonly OpenFile[]): OpenFile[] {
    const sockets = files.flatMap((file) => {
      const facts = this.#facts.socket(file.stat.ino);
      return facts && receives(facts) ? [{ file, facts }] : [];
    });
    const found: OpenFile[] = [];
    for (const [{ file, facts }, packets] of peekQueues(sockets)) {
      if (packets.length === 0) continue;
      const messages = packets.map(({ bytes, rights, sender, source }) => {
        return { bytes, sender, source, files: rights.map((local) => received(file.task, localFd(local))) };
      });
      this.#queues.set(facts.ino, messages);
      for (const carried of messages.flatMap(({ files }) => files)) {
        if (!isUnixSocket(carried) || this.#own.has(carried.stat.ino)) continue;
        this.#own.set(carried.stat.ino, carried);
        found.push(carried);
      }
    }
    return found;
  }
}

/** Whether a socket can have messages. The queue of a listening socket holds connections. */
function receives({ type, state }: UnixSocket): boolean {
  return state === TCP_STATE.ESTABLISHED || (type === SOCK.DGRAM && state !== TCP_STATE.LISTEN);
}

/** An OpenFile for a file in a message, attributed to the task whose queue the message is in. */
function received(task: SeenRef, local: LocalFd): OpenFile {
  const info = readProc('self', `fdinfo/${local}`).slice();
  const { pos, flags } = parseFdHead(info);
  const { dev, ino, mode, nlink, rdev, size, mntId } = statusOf(local);
  const link = readProcLink('self', `fd/${local}`);
  const stat = { dev, ino, mode, nlink, rdev, size };
  const own = { task, fd: NO_FD, local, cloexec: false, flags: flags & ~O.CLOEXEC, pos, link, stat, mntId };
  return { ...own, description: {}, fdinfo: () => info, socketDomain: domainOf(local, link) };
}
