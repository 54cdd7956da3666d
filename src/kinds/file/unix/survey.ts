/**
 * The unix sockets of a tree, seen together: who is connected with whom, and, when the tree stands still, what waits in their
 * queues. Messages may carry sockets that no task has open; these belong to the tree as well.
 */
import type { TaskRef } from '../../../base/errors.ts';
import type { OpenFile, SeenTask } from '../../../contract/contract.ts';
import { AF, SK_STATE, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { type UnixSocket, unixSockets } from '../../../kernel/netlink/unix-diag.ts';
import { parseFdHead } from '../../../kernel/proc/fdinfo.ts';
import { readProc, readProcLink } from '../../../kernel/proc/read.ts';
import { getNumberIfAny } from '../../../kernel/sockets.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { trySyscall } from '../../../kernel/syscall.ts';
import type { Packet } from './peek-buffers.ts';
import { peekQueue } from './queue.ts';

/** Whether open files are unix sockets: it is asked often, and they do not change. */
const known = new WeakMap<OpenFile, boolean>();

/** Whether an open file is a unix socket. */
export function isUnixSocket(file: OpenFile): boolean {
  if (!file.link.startsWith('socket:[')) return false;
  let is = known.get(file);
  if (is === undefined) {
    is = getNumberIfAny(file.local, SO.DOMAIN) === AF.UNIX;
    known.set(file, is);
  }
  return is;
}

/** A message that waits, with the open files it carries. */
export interface Message extends Omit<Packet, 'rights'> {
  readonly files: readonly OpenFile[];
}

export class Survey {
  readonly #tree: readonly SeenTask[];
  /** All unix sockets of the machine, by inode. */
  readonly #sockets = unixSockets();
  /** Those of the tree. */
  readonly #own = new Map<number, OpenFile>();
  readonly #queues = new Map<number, readonly Message[]>();
  #isComplete = false;

  private constructor(tree: readonly SeenTask[]) {
    this.#tree = tree;
    for (const file of tree.flatMap(({ fds }) => fds)) if (isUnixSocket(file)) this.#own.set(file.stat.ino, file);
  }

  static readonly #surveys = new WeakMap<readonly SeenTask[], Survey>();

  /** What one look at a tree tells; the next look at it is another one. @throws StasisError */
  static of(tree: readonly SeenTask[]): Survey {
    let survey = Survey.#surveys.get(tree);
    if (!survey) {
      survey = new Survey(tree);
      Survey.#surveys.set(tree, survey);
    }
    return survey;
  }

  /** One of the sockets that tasks have open. */
  get first(): OpenFile | undefined {
    return this.#own.values().next().value;
  }

  /** What the kernel tells of a socket; undefined if it is of another network namespace. */
  socket(ino: number): UnixSocket | undefined {
    return this.#sockets.get(ino);
  }

  /**
   * Whether a socket belongs to the tree. Of a tree that runs, one that waits in a queue is not known: then it may, if there
   * are any messages.
   */
  mayHave(ino: number): boolean {
    this.#complete();
    if (this.#own.has(ino)) return true;
    return !this.#stands && [...this.#own.keys()].some((own) => (this.#sockets.get(own)?.receiveQueue ?? 0) > 0);
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

  get #stands(): boolean {
    return this.#tree[0]?.status.tracerPid === process.pid;
  }

  /** Looks into the queues, and those of the sockets found there. */
  #complete(): void {
    if (this.#isComplete || !this.#stands) return;
    this.#isComplete = true;
    for (const [ino, file] of this.#own) {
      // grows meanwhile
      const facts = this.#sockets.get(ino);
      if (!facts || !receives(facts)) continue;
      const messages = peekQueue(file, facts).map(({ bytes, rights, sender }) => {
        return { bytes, sender, files: rights.map((local) => received(file.task, local)) };
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
function received(task: TaskRef, local: number): OpenFile {
  const info = readProc('self', `fdinfo/${local}`).slice();
  const { pos, flags } = parseFdHead(info);
  const { dev, ino, mode, nlink, rdev, size, mntId } = statusOf(local);
  const link = readProcLink('self', `fd/${local}`);
  const stat = { dev, ino, mode, nlink, rdev, size };
  const O_CLOEXEC = 0o2000000;
  return { task, fd: -1, local, cloexec: false, flags: flags & ~O_CLOEXEC, pos, link, stat, mntId, fdinfo: () => info };
}
