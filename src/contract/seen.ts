/** A tree as it looks from outside: once before the freeze, when it runs, and once after it, when it stands still. */
import type { TaskRef } from '../base/errors.ts';
import type { Rlimit } from '../kernel/proc/limits.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import type { ProcStat } from '../kernel/proc/stat.ts';
import type { ProcStatus } from '../kernel/proc/status.ts';
import type { CarryOptions } from './carry-options.ts';
import type { HasSlots } from './slots.ts';

/**
 * One look at a tree. What kinds find out about it as a whole, while they look for obstacles, is in slots of the look
 * (slots.ts): the capture, which is given the look at the frozen tree, finds it there.
 */
export interface SeenTree extends HasSlots {
  /** The living processes, the root first. Zombies are not among them. */
  readonly tasks: readonly SeenTask[];
  /** PIDs of what else belongs to it: zombies, and what has ended since the tree was looked for. */
  readonly dead: readonly number[];
  readonly root: SeenTask;
  /** Whether all of it stands still, as our tracees: otherwise members end, and descriptors change, at any time. */
  readonly frozen: boolean;
  readonly options: CarryOptions;
}

/** A thread as it looks from outside, running or frozen. Read once before the freeze (preflight), once after. */
export interface SeenThread {
  readonly tid: number;
  readonly ref: TaskRef;
  readonly stat: ProcStat;
  readonly status: ProcStatus;
  readonly options: CarryOptions;
}

/** A process as it looks from outside; as a thread it is its main thread, whose tid is the pid. */
export interface SeenTask extends SeenThread {
  readonly pid: number;
  /** All of its threads; the first is the process itself. */
  readonly threads: readonly SeenThread[];
  /** The look at the tree that this process was seen in. */
  readonly tree: SeenTree;
  readonly vmas: readonly ProcVma[];
  /** By RLIMIT_*; before Stasis has lifted any (tracee/headroom.ts). */
  readonly limits: readonly Rlimit[];
  /** Every descriptor of the process, in ascending order. */
  readonly fds: readonly OpenFile[];
}

/** Facts of statx(2) on a borrowed descriptor. Device numbers are in the kernel's form: major << 20 | minor. */
export interface FileFacts {
  readonly dev: number;
  readonly ino: number;
  /** Type and permission bits. */
  readonly mode: number;
  readonly nlink: number;
  readonly rdev: number;
  readonly size: number;
}

/** One descriptor of a task, borrowed: `local` is our own descriptor for the same open file description. */
export interface OpenFile {
  readonly task: TaskRef;
  /** The number in the task. */
  readonly fd: number;
  readonly local: number;
  readonly cloexec: boolean;
  /** Access mode and status flags, as F_GETFL gives them, without O_CLOEXEC. */
  readonly flags: number;
  /** Offset; 0 for what cannot seek. */
  readonly pos: number;
  /** What /proc/PID/fd/N points to: `/path`, `/path (deleted)`, `anon_inode:[eventfd]`, `pipe:[123]`, …, or TOO_DEEP. */
  readonly link: string;
  readonly stat: FileFacts;
  /** Mount id (statx), 0 if unknown. */
  readonly mntId: number;
  /** The family of a socket (SO_DOMAIN); undefined for other files. */
  socketDomain(): number | undefined;
  /** The bytes of /proc/PID/fdinfo/N, for kernel/proc/fdinfo.ts; read when asked for. */
  fdinfo(): Uint8Array;
}
