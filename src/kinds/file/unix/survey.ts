/**
 * The unix sockets of a tree, seen together: who is connected with whom, and, when the tree stands still, what waits in
 * their queues. Messages may carry sockets that no task has open; these belong to the tree as well.
 */
import { type LocalFd, localFd, NO_FD } from '../../../base/brands.ts';
import type { OpenFile, SeenRef, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { AF, SK_STATE, SOCK } from '../../../kernel/constants/sockets.ts';
import { type UnixSocket, unixSockets } from '../../../kernel/netlink/unix-diag.ts';
import { parseFdHead } from '../../../kernel/proc/fdinfo.ts';
import { readProc, readProcLink } from '../../../kernel/proc/read.ts';
import { domainOf } from '../../../kernel/sockets.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { trySyscall } from '../../../kernel/syscall.ts';
import type { Packet } from './peek-buffers.ts';
import { peekQueue } from './queue.ts';

/** Whether an open file is a unix socket. */
export function isUnixSocket(file: OpenFile): boolean {
  return file.socketDomain() === AF.UNIX;
}

/** A message that waits, with the open files it carries. */
export interface Message extends Omit<Packet, 'rights'> {
  readonly files: readonly OpenFile[];
}

export class Survey {
  readonly #tree: SeenTree;
  /** All unix sockets of the machine, by inode. */
  readonly #sockets = unixSockets();
  /** Those of the tree. */
  readonly #own = new Map<number, OpenFile>();
  readonly #queues = new Map<number, readonly Message[]>();
  #isComplete = false;

  private constructor(tree: SeenTree) {
    this.#tree = tree;
    for (const file of tree.tasks.flatMap(({ fds }) => fds)) if (isUnixSocket(file)) this.#own.set(file.stat.ino, file);
  }

  static readonly #slot = new Slot((tree: SeenTree) => new Survey(tree));

  /** What one look at a tree tells; the next look at it is another one. @throws StasisError */
  static of(tree: SeenTree): Survey {
    return Survey.#slot.of(tree);
  }

  /** The same if anybody has asked for it. */
  static ifMade(tree: SeenTree): Survey | undefined {
    return Survey.#slot.ifMade(tree);
  }

  /** What the kernel tells of a socket; undefined if it is of another network namespace. */
  socket(ino: number): UnixSocket | undefined {
    return this.#sockets.get(ino);
  }

  /**
   * Whether a socket belongs to the tree. Of a tree that runs, one that waits in a queue is not known: then it may, if
   * there are any messages.
   */
  mayHave(ino: number): boolean {
    this.#complete();
    if (this.#own.has(ino)) return true;
    return !this.#tree.frozen && [...this.#own.keys()].some((own) => (this.#sockets.get(own)?.receiveQueue ?? 0) > 0);
  }

  /** Sockets of the tree that no task has open. */
  get underWay(): OpenFile[] {
    this.#complete();
    return [...this.#own.values()].filter(({ fd }) => fd < 0);
  }

  /** What waits to be received; nothing of a tree that runs. @throws StasisError */
  queue(ino: number): readonly Message[] {
    this.#complete();
    return this.#queues.get(ino) ?? [];
  }

  /** Our descriptors for the open files messages carry are given back. */
  close(): void {
    for (const { files } of [...this.#queues.values()].flat())
      for (const { local } of files) trySyscall('close', local);
    this.#queues.clear();
  }

  /** Looks into the queues, and those of the sockets found there. */
  #complete(): void {
    if (this.#isComplete || !this.#tree.frozen) return;
    this.#isComplete = true;
    for (const [ino, file] of this.#own) {
      // grows meanwhile
      const facts = this.#sockets.get(ino);
      if (!facts || !receives(facts)) continue;
      const messages = peekQueue(file, facts).map(({ bytes, rights, sender }) => {
        return { bytes, sender, files: rights.map((local) => received(file.task, localFd(local))) };
      });
      if (messages.length > 0) this.#queues.set(ino, messages);
      for (const carried of messages.flatMap(({ files }) => files)) {
        if (isUnixSocket(carried) && !this.#own.has(carried.stat.ino)) this.#own.set(carried.stat.ino, carried);
      }
    }
  }
}

/** Whether there can be messages. A listener's queue are connections. */
function receives({ type, state }: UnixSocket): boolean {
  return state === SK_STATE.ESTABLISHED || (type === SOCK.DGRAM && state !== SK_STATE.LISTEN);
}

/** An open file that came with a message, as if it were a descriptor of the task whose queue it is in. */
function received(task: SeenRef, local: LocalFd): OpenFile {
  const info = readProc('self', `fdinfo/${local}`).slice();
  const { pos, flags } = parseFdHead(info);
  const { dev, ino, mode, nlink, rdev, size, mntId } = statusOf(local);
  const link = readProcLink('self', `fd/${local}`);
  const stat = { dev, ino, mode, nlink, rdev, size };
  const O_CLOEXEC = 0o2000000;
  const own = { task, fd: NO_FD, local, cloexec: false, flags: flags & ~O_CLOEXEC, pos, link, stat, mntId };
  return { ...own, fdinfo: () => info, socketDomain: domainOf(local, link) };
}
