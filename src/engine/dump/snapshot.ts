/** Seeing a task from outside, with its descriptors borrowed. Nothing of the task is touched. */
import { StasisError, type TaskRef } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';
import type { CarryOptions, FileFacts, OpenFile, SeenTask, SeenThread, SeenTree } from '../../contract/contract.ts';
import { SlotStore } from '../../contract/slots.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { growTable } from '../../kernel/descriptor-table.ts';
import { namesIn } from '../../kernel/files.ts';
import { parseFdHead } from '../../kernel/proc/fdinfo.ts';
import { parseLimits, type Rlimit } from '../../kernel/proc/limits.ts';
import { readProc, readProcIfAny, TOO_DEEP } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { type ProcStat, parseStat } from '../../kernel/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { hasEnded, membersOf, tellsOfNothing } from '../../kernel/proc/tree.ts';
import { domainOf } from '../../kernel/sockets.ts';
import {
  arena,
  arenaAddress,
  arenaPath,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';

const AT_EMPTY_PATH = 0x1000;
/** STATX_BASIC_STATS | STATX_MNT_ID. */
const STATX_WANTED = 0x7ff | 0x1000;
const O_CLOEXEC = 0o2000000;

/** A task as seen; the borrowed descriptors are given back when its scope ends. */
export class TaskSnapshot implements SeenTask, Disposable {
  readonly pid: number;
  readonly tid: number;
  readonly ref: TaskRef;
  readonly stat: ProcStat;
  readonly status: ProcStatus;
  readonly threads: readonly SeenThread[];
  readonly tree: SeenTree;
  readonly vmas: readonly ProcVma[];
  readonly limits: readonly Rlimit[];
  readonly fds: readonly OpenFile[];
  readonly options: CarryOptions;

  /** What was borrowed for this task, and is not another's. */
  readonly #own: number[] = [];

  /** `earlier` are tasks seen before, by PID: what the parent has open as well is not borrowed twice. */
  constructor(pid: number, tree: SeenTree, earlier: ReadonlyMap<number, TaskSnapshot> = new Map()) {
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
    const others = namesIn(`/proc/${pid}/task`).map(Number);
    this.threads = [this, ...others.filter((tid) => tid !== pid).map((tid) => new OtherThread(pid, tid, options))];
    // Not prlimit(2): it asks for CAP_SYS_RESOURCE where users differ.
    this.limits = parseLimits(readProc(pid, 'limits'));
    this.vmas = parseSmaps(readProc(pid, 'smaps'));
    this.fds = this.#borrowAll(earlier.get(this.stat.ppid)?.fds ?? []);
  }

  [Symbol.dispose](): void {
    for (const local of this.#own.splice(0)) trySyscall('close', local);
  }

  /** Borrows every descriptor with pidfd_getfd(2). One that is closed meanwhile is left out. */
  #borrowAll(inherited: readonly OpenFile[]): OpenFile[] {
    using pidfd = new Fd(syscall('pidfd_open', this.pid, 0));
    const numbers = namesIn(`/proc/${this.pid}/fd`).map(Number);
    const known = new Map(inherited.map((file) => [file.fd, file]));
    growTable(numbers.length - known.size);
    try {
      return numbers.sort((a, b) => a - b).flatMap((fd) => this.#borrow(pidfd.number, fd, known.get(fd)) ?? []);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** `namesake` is what the parent has under the same number: the same open file as a rule. */
  #borrow(pidfd: number, fd: number, namesake: OpenFile | undefined): OpenFile | undefined {
    const info = readProcIfAny(this.pid, `fdinfo/${fd}`)?.slice();
    if (!info) return undefined;
    const { pos, flags } = parseFdHead(info);
    const own = {
      task: this.ref,
      fd,
      cloexec: (flags & O_CLOEXEC) !== 0,
      flags: flags & ~O_CLOEXEC,
      pos,
      fdinfo: () => info,
    };
    if (namesake && trySyscall('kcmp', this.pid, process.pid, KCMP.FILE, fd, namesake.local) === 0) {
      return { ...namesake, ...own };
    }
    const local = trySyscall('pidfd_getfd', pidfd, fd, 0);
    if (local === -ERRNO.EBADF) return undefined;
    if (local < 0) throw borrowError(this.ref, fd, -local);
    this.#own.push(local);
    const link = linkOf(local);
    return { ...own, local, link, socketDomain: domainOf(local, link), ...factsOf(local) };
  }
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

/** How often a process is looked at that changes meanwhile. */
const MOST_LOOKS = 5;

/** The living processes of a tree as seen; what was borrowed is given back when its scope ends. */
export class TreeSnapshot implements SeenTree, Disposable {
  readonly slots = new SlotStore();
  readonly options: CarryOptions;
  readonly frozen: boolean;
  tasks: readonly TaskSnapshot[] = [];
  dead: readonly number[] = [];
  /** Whether Stasis is one of the processes of the tree. It is not among the tasks, unless it is the root. */
  hasStasis = false;

  private constructor(options: CarryOptions, frozen: boolean) {
    this.options = options;
    this.frozen = frozen;
  }

  /** Looks at processes that stand still, beside zombies. @throws StasisError when one of them cannot be looked at */
  static ofFrozen(pids: readonly number[], zombies: readonly number[], options: CarryOptions): TreeSnapshot {
    const tree = new TreeSnapshot(options, true);
    tree.dead = zombies;
    tree.tasks = observeAll(pids, (pid, seen) => new TaskSnapshot(pid, tree, seen));
    return tree;
  }

  /** Looks at a tree that runs: members that end meanwhile are left out, all but the root. */
  static ofRunning(root: number, options: CarryOptions): TreeSnapshot {
    const tree = new TreeSnapshot(options, false);
    const members = membersOf(root).map(({ pid }) => pid);
    const pids = members.filter((pid) => pid !== root && pid !== process.pid);
    tree.hasStasis = members.includes(process.pid);
    tree.tasks = observeAll([root, ...pids], (pid, seen) =>
      pid === root ? new TaskSnapshot(pid, tree) : TreeSnapshot.#living(pid, tree, seen),
    );
    const living = new Set(tree.tasks.map(({ pid }) => pid));
    tree.dead = pids.filter((pid) => !living.has(pid));
    return tree;
  }

  get root(): TaskSnapshot {
    const [root] = this.tasks;
    if (root) return root;
    throw new StasisError({ kind: 'internal', reason: 'a tree without a root was looked at' });
  }

  /**
   * Undefined for a process that has ended meanwhile, or is about to: without its memory it looks like a kernel thread.
   */
  static #living(pid: number, tree: SeenTree, seen: ReadonlyMap<number, TaskSnapshot>): TaskSnapshot | undefined {
    for (let look = 1; ; look++) {
      try {
        const task = new TaskSnapshot(pid, tree, seen);
        if (task.status.hasMemory) return task;
        task[Symbol.dispose]();
        return undefined;
      } catch (error) {
        if (hasEnded(pid)) return undefined;
        // Something of it went while it was looked at: not the whole of it may be left out for that.
        if (!tellsOfNothing(error) || look === MOST_LOOKS) throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    for (const task of this.tasks) task[Symbol.dispose]();
  }
}

/** If one fails, what was borrowed of the others is given back. */
function observeAll(
  pids: readonly number[],
  look: (pid: number, seen: ReadonlyMap<number, TaskSnapshot>) => TaskSnapshot | undefined,
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

/** A thread besides the main one. There may be thousands, of which little is asked: it is read when it is. */
class OtherThread implements SeenThread {
  readonly tid: number;
  readonly options: CarryOptions;
  readonly #pid: number;
  #stat: ProcStat | undefined;
  #status: ProcStatus | undefined;

  constructor(pid: number, tid: number, options: CarryOptions) {
    this.#pid = pid;
    this.tid = tid;
    this.options = options;
  }

  get ref(): TaskRef {
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

  #read(name: string): Uint8Array {
    const bytes = readProcIfAny(this.#pid, `task/${this.tid}/${name}`);
    if (bytes) return bytes;
    throw new StasisError({ kind: 'gone', task: { pid: this.tid }, reason: 'the thread has ended' });
  }
}

/** Facts of an open file by statx(2); device numbers in the kernel's form. */
function factsOf(local: number): { stat: FileFacts; mntId: number } {
  const at = arenaPath('') + 8;
  const got = trySyscall('statx', local, arenaAddress, AT_EMPTY_PATH, STATX_WANTED, at);
  if (got < 0) throw new SyscallError('statx', -got);
  const u32 = (offset: number): number => arenaView.getUint32(8 + offset, true);
  const u64 = (offset: number): number => Number(arenaView.getBigUint64(8 + offset, true));
  const device = (offset: number): number => u32(offset) * (1 << 20) + u32(offset + 4);
  return {
    stat: {
      nlink: u32(16),
      mode: arenaView.getUint16(8 + 28, true),
      ino: u64(32),
      size: u64(40),
      rdev: device(128),
      dev: device(136),
    },
    mntId: u64(144),
  };
}

/** A file that is reached by a path such as /proc/PID/exe instead of a descriptor; `fd` is -1. */
export function openPath(task: TaskRef, via: string, flags: number): OpenFile {
  // The link is opened as O_PATH: no device wakes up, no FIFO blocks, and directories and files are treated alike.
  const local = syscall('openat', -100, arenaPath(via), 0o10000000 | O_CLOEXEC);
  return {
    task,
    fd: -1,
    local,
    cloexec: false,
    flags,
    pos: 0,
    link: linkOf(local),
    ...factsOf(local),
    socketDomain: () => undefined, // no way leads to a socket but a descriptor
    fdinfo: () => new Uint8Array(),
  };
}

/**
 * What /proc says an open file is; {@link TOO_DEEP} if it does not say (do_proc_readlink() in fs/proc/base.c has one
 * page).
 */
function linkOf(local: number): string {
  const length = trySyscall('readlinkat', -100, arenaPath(`/proc/self/fd/${local}`), arenaAddress + 4096, 8192);
  if (length === -ERRNO.ENAMETOOLONG) return TOO_DEEP;
  if (length < 0) throw new SyscallError('readlinkat', -length);
  return decodeText(arena.slice(4096, 4096 + length));
}
