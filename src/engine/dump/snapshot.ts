/** Snapshots of tasks from outside, with borrowed descriptors. The tasks are not touched. */

import { type HostPid, type LocalFd, localFd, NO_FD, ownPid, type TaskFd, taskFd } from '../../base/brands.ts';
import { StasisError, type TaskRef } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import { UndoStack } from '../../base/undo.ts';
import type {
  CarryOptions,
  FileFacts,
  IdView,
  OpenFile,
  PidView,
  SeenRef,
  SeenTask,
  SeenThread,
  SeenTree,
} from '../../contract/contract.ts';
import { SlotStore } from '../../contract/slots.ts';
import { AT, F, F_LCK, KCMP, O } from '../../kernel/constants/files.ts';
import { closeAll, growTable } from '../../kernel/descriptor-table.ts';
import { namesIn } from '../../kernel/files.ts';
import { Flock } from '../../kernel/layouts/files.ts';
import { openPidfd, tryBorrow } from '../../kernel/pidfd.ts';
import { DescriptorInfos, OwnLinks, ownLink } from '../../kernel/proc/descriptors.ts';
import { parseFdHead } from '../../kernel/proc/fdinfo.ts';
import { parseLimits, type Rlimit } from '../../kernel/proc/limits.ts';
import { readProc, readProcIfAny } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { type ProcStat, parseStat } from '../../kernel/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { hasEnded, isWorker, membersOf, tellsOfNothing, threadsOf, unlessGone } from '../../kernel/proc/tree.ts';
import { domainOf } from '../../kernel/sockets.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, ERRNO, type Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { isElsewhere } from '../../namespaces/seen.ts';
import { OUR_IDS } from '../../support/user-ids.ts';
import { pidView } from './pid-view.ts';

const SEEN_IDS = new Part(
  () => require('../../namespaces/user/seen.ts') as typeof import('../../namespaces/user/seen.ts'),
);

/** The snapshot of a task. Its borrowed descriptors are closed when the scope ends. */
export class TaskSnapshot implements SeenTask, Disposable {
  readonly pid: HostPid;
  readonly tid: HostPid;
  readonly ref: SeenRef;
  readonly stat: ProcStat;
  readonly status: ProcStatus;
  readonly threads: readonly SeenThread[];
  readonly tree: SeenTree;
  readonly vmas: readonly ProcVma[];
  readonly limits: readonly Rlimit[];
  readonly fds: readonly BorrowedFile[];
  readonly options: CarryOptions;

  /** Descriptors borrowed for this task, without those taken over from its parent. */
  readonly #own: number[] = [];

  /** `earlier` are the snapshots made before, by PID: open files that the parent has as well are not borrowed again. */
  constructor(pid: HostPid, tree: SeenTree, earlier: ReadonlyMap<number, TaskSnapshot> = new Map()) {
    const { options } = tree;
    this.pid = pid;
    this.tid = pid;
    this.tree = tree;
    this.options = options;
    this.stat = parseStat(readProc(pid, 'stat'));
    this.ref = { pid, comm: this.stat.comm };
    this.status = parseStatus(readProc(pid, 'status'));
    const { tgid } = this.status;
    if (tgid !== pid) {
      const reason = `this is a thread of process ${tgid}`;
      throw new StasisError({ kind: 'usage', task: this.ref, reason, remedy: `name the process: -t ${tgid}` });
    }
    const others = threadsOf(pid);
    const threads = others.filter((tid) => tid !== pid).map((tid) => new OtherThread(pid, tid, options));
    this.threads = [this, ...threads.filter((thread) => !thread.isWorker())];
    // prlimit(2) is not used, since it needs CAP_SYS_RESOURCE for tasks of other users.
    this.limits = parseLimits(readProc(pid, 'limits'));
    this.vmas = parseSmaps(readProc(pid, 'smaps'));
    this.fds = this.#borrowAll(earlier.get(this.stat.ppid)?.fds ?? []);
  }

  [Symbol.dispose](): void {
    closeAll(this.#own.splice(0));
  }

  /** Borrows every descriptor with pidfd_getfd(2). A descriptor that is closed meanwhile is left out. */
  #borrowAll(inherited: readonly BorrowedFile[]): BorrowedFile[] {
    using pidfd = openPidfd(this.pid);
    using infos = new DescriptorInfos(this.pid);
    using links = new OwnLinks();
    const from = { pidfd, infos, links };
    const numbers = namesIn(`/proc/${this.pid}/fd`).map((name) => taskFd(Number(name)));
    const known = new Map(inherited.map((file) => [file.fd, file]));
    growTable(numbers.length - known.size);
    try {
      return numbers.sort((a, b) => a - b).flatMap((fd) => this.#borrow(from, fd, known.get(fd)) ?? []);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * `namesake` is the parent's file under the same number, which usually is the same open file description. There may
   * be hundreds of tasks with hundreds of these, so /proc is not asked again what it has told of the parent's.
   */
  #borrow({ pidfd, infos, links }: Lenders, fd: TaskFd, namesake: BorrowedFile | undefined): BorrowedFile | undefined {
    const { ref: task } = this;
    if (namesake && trySyscall('kcmp', this.pid, process.pid, KCMP.FILE, fd, namesake.local) === 0) {
      const info = namesake.mayShowOthersLocks() ? infos.of(fd) : undefined;
      return { ...namesake, task, fd, cloexec: undefined, ...(info ? { fdinfo: () => info } : {}) };
    }
    const info = infos.of(fd);
    if (!info) return undefined;
    const { pos, flags } = parseFdHead(info);
    const got = tryBorrow(pidfd, fd);
    if (got === -ERRNO.EBADF) return undefined;
    if (got < 0) throw borrowError(task, fd, -got);
    const local = localFd(got);
    this.#own.push(local);
    const facts = factsOf(local);
    const link = links.of(local, facts.stat);
    return {
      task,
      fd,
      local,
      description: {},
      cloexec: closesOnExec(local, flags),
      flags: flags & ~O.CLOEXEC,
      pos,
      link,
      ...facts,
      socketDomain: domainOf(local, link),
      fdinfo: () => info,
      mayShowOthersLocks: recordLocksOf(local),
    };
  }
}

/** What the descriptors of a process are borrowed by. */
interface Lenders {
  readonly pidfd: Fd;
  readonly infos: DescriptorInfos;
  readonly links: OwnLinks;
}

/** An open file of a snapshot. */
interface BorrowedFile extends OpenFile {
  /**
   * Whether fdinfo may show each task other locks: a record lock (POSIX) is shown to its owner alone, all others to
   * everybody who has the open file description (__show_fd_locks() in fs/locks.c).
   */
  mayShowOthersLocks(): boolean;
}

/** A function that tells, asking the kernel once, whether there may be record locks on a file. */
function recordLocksOf(local: LocalFd): () => boolean {
  let may: boolean | undefined;
  return () => {
    if (may === undefined) {
      // A lock for writing on all of the file, owned by nobody yet, would be in conflict with any.
      const asked = Flock.encode({ type: F_LCK.WRLCK, whence: 0, start: 0n, length: 0n, pid: 0 });
      may = trySyscall('fcntl', local, F.OFD_GETLK, asked) < 0 || Flock.decode(asked).type !== F_LCK.UNLCK;
    }
    return may;
  };
}

function borrowError(task: TaskRef, fd: number, errno: number): StasisError {
  if (errno !== ERRNO.EMFILE) return new SyscallError('pidfd_getfd', errno, { task, resource: `fd ${fd}` });
  return new StasisError({
    kind: 'permission',
    code: 'DESCRIPTORS_EXHAUSTED',
    task,
    resource: `fd ${fd}`,
    reason: 'Stasis needs a descriptor for each open file of the tree, and is allowed no more',
    remedy: 'start Stasis with a higher limit (ulimit -Hn)',
  });
}

/** How often a process that changes meanwhile is read again. */
const MOST_LOOKS = 5;

/** The snapshots of the living processes of a tree. Borrowed descriptors are closed when the scope ends. */
export class TreeSnapshot implements SeenTree, Disposable {
  readonly slots = new SlotStore();
  readonly options: CarryOptions;
  readonly frozen: boolean;
  tasks: readonly TaskSnapshot[] = [];
  dead: readonly number[] = [];
  /** Whether Stasis is one of the processes of the tree. It is not among the tasks, unless it is the root. */
  hasStasis = false;
  readonly #ending = new UndoStack();

  private constructor(options: CarryOptions, frozen: boolean) {
    this.options = options;
    this.frozen = frozen;
  }

  /** The snapshot of frozen processes; `zombies` are the others. @throws StasisError if one of them cannot be read */
  static ofFrozen(pids: readonly HostPid[], zombies: readonly number[], options: CarryOptions): TreeSnapshot {
    const tree = new TreeSnapshot(options, true);
    tree.dead = zombies;
    tree.tasks = observeAll(pids, (pid, seen) => new TaskSnapshot(pid, tree, seen));
    return tree;
  }

  /** The snapshot of a running tree. Members that end meanwhile are left out, except the root. */
  static ofRunning(root: HostPid, options: CarryOptions): TreeSnapshot {
    const tree = new TreeSnapshot(options, false);
    const members = membersOf(root).map(({ pid }) => pid);
    const pids = members.filter((pid) => pid !== root && pid !== process.pid);
    tree.hasStasis = members.includes(ownPid());
    tree.tasks = observeAll([root, ...pids], (pid, seen) =>
      pid === root ? new TaskSnapshot(pid, tree) : TreeSnapshot.#living(pid, tree, seen),
    );
    const living = new Set(tree.tasks.map(({ pid }) => pid));
    tree.dead = pids.filter((pid) => !living.has(pid));
    return tree;
  }

  /** Made when first asked for. */
  #pids: PidView | undefined;

  get pids(): PidView {
    this.#pids ??= this.#viewFromRoot();
    return this.#pids;
  }

  #ids: IdView | undefined;

  get ids(): IdView {
    this.#ids ??= isElsewhere(this.root.pid, 'user') ? SEEN_IDS.load().seenIds(this) : OUR_IDS;
    return this.#ids;
  }

  #viewFromRoot(): PidView {
    const known = new Map(this.tasks.flatMap(({ threads }) => threads.map(({ tid, status }) => [tid, status])));
    return pidView((this.root.status.nsPid?.length ?? 1) - 1, (tid) => known.get(tid));
  }

  get root(): TaskSnapshot {
    const [root] = this.tasks;
    if (root) return root;
    throw new StasisError({ kind: 'internal', reason: 'a tree without a root was looked at' });
  }

  /**
   * The snapshot of a process; undefined if it has ended or is about to end, when it has no memory any more and looks
   * like a kernel thread.
   */
  static #living(pid: HostPid, tree: SeenTree, seen: ReadonlyMap<number, TaskSnapshot>): TaskSnapshot | undefined {
    for (let look = 1; ; look++) {
      try {
        const task = new TaskSnapshot(pid, tree, seen);
        if (task.status.hasMemory) return task;
        task[Symbol.dispose]();
        return undefined;
      } catch (error) {
        if (hasEnded(pid)) return undefined;
        // Something of the process vanished while it was read. That is no reason to leave out the process, so it is
        // read again.
        if (!tellsOfNothing(error) || look === MOST_LOOKS) throw error;
      }
    }
  }

  atEnd(work: () => void): void {
    this.#ending.add(work);
  }

  [Symbol.dispose](): void {
    this.#ending[Symbol.dispose]();
    for (const task of this.tasks) task[Symbol.dispose]();
  }
}

/** Makes all snapshots. If one fails, the borrowed descriptors of the others are closed. */
function observeAll(
  pids: readonly HostPid[],
  look: (pid: HostPid, seen: ReadonlyMap<number, TaskSnapshot>) => TaskSnapshot | undefined,
): TaskSnapshot[] {
  const seen = new Map<number, TaskSnapshot>();
  try {
    for (const pid of pids) {
      const task = look(pid, seen);
      if (task) seen.set(pid, task);
    }
    return [...seen.values()];
  } catch (error) {
    for (const task of seen.values()) task[Symbol.dispose]();
    throw error;
  }
}

/**
 * A thread other than the main thread. There may be thousands, of which little is needed, so each value is read on
 * demand.
 */
class OtherThread implements SeenThread {
  readonly tid: HostPid;
  readonly options: CarryOptions;
  readonly #pid: HostPid;
  #stat: ProcStat | undefined;
  #status: ProcStatus | undefined;

  constructor(pid: HostPid, tid: HostPid, options: CarryOptions) {
    this.#pid = pid;
    this.tid = tid;
    this.options = options;
  }

  get ref(): SeenRef {
    return { pid: this.tid, comm: this.stat.comm };
  }

  get stat(): ProcStat {
    this.#stat ??= parseStat(this.#read('stat'));
    return this.#stat;
  }

  get status(): ProcStatus {
    this.#status ??= parseStatus(this.#read('status'));
    return this.#status;
  }

  /** Whether it is a thread of the kernel (io_uring). One that has ended meanwhile is taken for one of the program. */
  isWorker(): boolean {
    return unlessGone(() => isWorker(this.stat)) ?? false;
  }

  #read(name: string): Uint8Array {
    const bytes = readProcIfAny(this.#pid, `task/${this.tid}/${name}`);
    if (bytes) return bytes;
    throw new StasisError({ kind: 'gone', task: { pid: this.tid }, reason: 'the thread has ended' });
  }
}

/**
 * Whether a descriptor is closed by an execve, by the flags that its fdinfo shows. The kernel adds O_CLOEXEC there to
 * the flags of the file (seq_show() in fs/proc/fd.c), and some files have it among their own, whatever becomes of the
 * descriptor: slaves of pseudoterminals that TIOCGPTPEER opened, queues that mq_open did. Undefined for those.
 */
function closesOnExec(local: LocalFd, shown: number): boolean | undefined {
  if ((shown & O.CLOEXEC) === 0) return false;
  return (syscall('fcntl', local, F.GETFL) & O.CLOEXEC) === 0 ? true : undefined;
}

function factsOf(local: LocalFd): { stat: FileFacts; mntId: number } {
  const stat = statusOf(local);
  return { stat, mntId: stat.mntId };
}

/** A file that is reached by a path such as /proc/PID/exe instead of a descriptor; `fd` is -1. */
export function openPath(task: SeenRef, via: string, flags: number): OpenFile {
  // The link is opened with O_PATH, so that no device is activated and no FIFO blocks; this works for directories as
  // well.
  const local = localFd(syscall('openat', AT.FDCWD, arenaPath(via), O.PATH | O.CLOEXEC));
  return {
    task,
    fd: NO_FD,
    local,
    description: {},
    cloexec: false,
    flags,
    pos: 0,
    link: ownLink(local),
    ...factsOf(local),
    socketDomain: () => undefined, // a socket can only be reached through a descriptor
    fdinfo: () => new Uint8Array(),
  };
}
