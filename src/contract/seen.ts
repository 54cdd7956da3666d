/** Snapshots of a tree, seen from outside: one before the freeze, while it runs, and one of the frozen tree. */
import type { HostPid, LocalFd, SavedPid, TaskFd } from '../base/brands.ts';
import type { TaskRef } from '../base/errors.ts';
import type { Rlimit } from '../kernel/proc/limits.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import type { ProcStat } from '../kernel/proc/stat.ts';
import type { ProcStatus } from '../kernel/proc/status.ts';
import type { FileStatus } from '../kernel/statx.ts';
import type { CarryOptions } from './carry-options.ts';
import type { HasSlots } from './slots.ts';

/**
 * A snapshot of a tree. What kinds find out about the tree while they check for obstacles is kept in slots of the
 * snapshot (slots.ts), where the capture finds it.
 */
export interface SeenTree extends HasSlots {
  /** The living processes, the root first. Zombies are not among them. */
  readonly tasks: readonly SeenTask[];
  /** PIDs of the other members of the tree: zombies, and processes that ended while the snapshot was made. */
  readonly dead: readonly number[];
  readonly root: SeenTask;
  /**
   * Whether all threads are stopped as our tracees. If not, processes may end and descriptors may change at any time.
   */
  readonly frozen: boolean;
  readonly options: CarryOptions;
  /** The numbers of processes as images hold them. */
  readonly pids: PidView;
  /** Users and groups as images hold them. */
  readonly ids: IdView;
  /** Registers work for when the snapshot is not needed any more. */
  atEnd(work: () => void): void;
}

/** The numbers of processes as seen from the PID namespace of a tree's root: those that images hold. */
export interface PidView {
  /** How many levels that namespace lies below ours; 0 if it is ours, and all numbers are the same. */
  readonly depth: number;
  /** The number of a process or thread; 0 if it has none there, or does not exist. */
  saved(pid: number): SavedPid;
  /** The number of the group a process is in, which is `group` here; 0 if that is one of outside. */
  groupOf(pid: HostPid, group: number): SavedPid;
  /** The same of its session. */
  sessionOf(pid: HostPid, session: number): SavedPid;
}

/**
 * Users and groups as seen from the user namespace of a tree's root, which images hold. `There` is in that namespace,
 * `Here` in ours.
 */
export interface IdView {
  /** 0xffffffff for one that has no ID there. */
  uidThere(here: number): number;
  gidThere(here: number): number;
  /** Root for one that has no ID here. */
  uidHere(there: number): number;
  gidHere(there: number): number;
}

/** How errors name a task that is looked at. */
export interface SeenRef extends TaskRef {
  readonly pid: HostPid;
}

/** A thread in a snapshot, running or frozen. */
export interface SeenThread {
  readonly tid: HostPid;
  readonly ref: SeenRef;
  readonly stat: ProcStat;
  readonly status: ProcStatus;
  readonly options: CarryOptions;
}

/** A process in a snapshot; as a thread it is its main thread, whose TID is the PID. */
export interface SeenTask extends SeenThread {
  readonly pid: HostPid;
  /** All of its threads; the first is the process itself. */
  readonly threads: readonly SeenThread[];
  /** The snapshot this process belongs to. */
  readonly tree: SeenTree;
  readonly vmas: readonly ProcVma[];
  /** By RLIMIT_* number; the values before Stasis raised any limit (tracee/headroom.ts). */
  readonly limits: readonly Rlimit[];
  /** Every descriptor of the process, in ascending order. */
  readonly fds: readonly OpenFile[];
}

/** What is known of the file behind a borrowed descriptor. */
export type FileFacts = Pick<FileStatus, 'dev' | 'ino' | 'mode' | 'nlink' | 'rdev' | 'size'>;

/** A borrowed descriptor of a task: `local` is our own descriptor for the same open file description. */
export interface OpenFile {
  readonly task: SeenRef;
  /** The number in the task. */
  readonly fd: TaskFd;
  readonly local: LocalFd;
  /**
   * The same object for all descriptors that were found to be of one open file description, to keep what is known of
   * it. Others may be of that one all the same.
   */
  readonly description: object;
  /** Undefined where the snapshot did not look: the open file is one that the parent has under this number as well. */
  readonly cloexec: boolean | undefined;
  /** Access mode and status flags, as F_GETFL gives them, without O_CLOEXEC. */
  readonly flags: number;
  /** Offset; 0 for what cannot seek. */
  readonly pos: number;
  /** The target of /proc/PID/fd/N: `/path`, `/path (deleted)`, `anon_inode:[eventfd]`, `pipe:[123]`, …, or TOO_DEEP. */
  readonly link: string;
  readonly stat: FileFacts;
  /** Mount id (statx), 0 if unknown. */
  readonly mntId: number;
  /** The family of a socket (SO_DOMAIN); undefined for other files. */
  socketDomain(): number | undefined;
  /** What /proc/PID/fdinfo/N says, to be parsed by kernel/proc/fdinfo.ts; O_CLOEXEC may be that of the parent. */
  fdinfo(): Uint8Array;
}
