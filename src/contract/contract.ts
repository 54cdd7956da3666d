/**
 * What the engine and the kinds owe each other. A kind is a room with two doors: how a piece of kernel state is
 * captured, and how it is rebuilt. The engine knows kinds only through the registry; kinds never import each other.
 */

import type { Registers } from '../arch/arch.ts';
import type { StasisError, TaskRef } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { ImageSet, ImageSetWriter } from '../images/image-set.ts';
import type { ImageKind } from '../images/kind.ts';
import type { InputOf, Message } from '../images/message.ts';
import type { FdinfoEntry, FileEntry, FsEntry, fileEntry } from '../images/schema/files.ts';
import type { MmEntry, mmEntry, vmaEntry } from '../images/schema/memory.ts';
import type { CoreEntry, coreEntry, taskCoreEntry, threadCoreEntry } from '../images/schema/task.ts';
import type { PstreeEntry } from '../images/schema/tree.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import type { ProcStat } from '../kernel/proc/stat.ts';
import type { ProcStatus } from '../kernel/proc/status.ts';
import type { Batch } from '../tracee/batch.ts';
import type { Program } from '../tracee/program.ts';
import type { Remote } from '../tracee/remote.ts';
import type { Seed } from '../tracee/seed.ts';
import type { Tracee } from '../tracee/tracee.ts';

/** What the user allows and wants; the same for every task. Sizes are bytes. */
export interface CarryOptions {
  readonly shellJob: boolean;
  readonly fileLocks: boolean;
  readonly linkRemap: boolean;
  readonly evasiveDevices: boolean;
  readonly ghostLimit: number;
  readonly fileValidation: 'filesize' | 'buildid';
  readonly skipFileRwxCheck: boolean;
  /** PeekBuffers for watched files whose path the kernel does not give, there and in the usual places. */
  readonly forceIrmap: boolean;
  readonly irmapScanPaths: readonly string[];
  /** What of the tasks' cgroups is carried. */
  readonly manageCgroups: 'ignore' | 'none' | 'props' | 'soft' | 'full' | 'strict';
  /** `--cgroup-root`: where the tasks' cgroups begin, for the hierarchy of one controller or (no key) for all. */
  readonly cgroupRoot: readonly { readonly key: string | undefined; readonly value: string }[];
  /** `--cgroup-yard`: a directory where hierarchies are mounted. */
  readonly cgroupYard: string | undefined;
  /** Keys of `--external`. */
  readonly external: readonly string[];
  /** `--inherit-fd`: key → our own descriptor. */
  readonly inheritFd: ReadonlyMap<string, number>;
  /** Whether the tasks go on after the dump. */
  readonly leaveRunning: boolean;
}

// ---------------------------------------------------------------------------------------------------- dumping

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
  /** The whole tree that is looked at, this process included; the root comes first. Zombies are not in it. */
  readonly tree: readonly SeenTask[];
  readonly vmas: readonly ProcVma[];
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
  /** What /proc/PID/fd/N points to: `/path`, `/path (deleted)`, `anon_inode:[eventfd]`, `pipe:[123]`, … */
  readonly link: string;
  readonly stat: FileFacts;
  /** Mount id (statx), 0 if unknown. */
  readonly mntId: number;
  /** The bytes of /proc/PID/fdinfo/N, for kernel/proc/fdinfo.ts; read when asked for. */
  fdinfo(): Uint8Array;
}

/** What a file kind gives to the image: a file_entry without its type and id. */
export type FileDraft = Omit<InputOf<typeof fileEntry>, 'type' | 'id'>;

/** A core image in the making; kinds fill in their fields. */
export interface CoreDraft {
  mtype: number;
  thread_info?: InputOf<typeof coreEntry>['thread_info'];
  thread_core: Partial<InputOf<typeof threadCoreEntry>>;
}

/** That of a process's main thread, which tells of the process as well. */
export interface TaskCoreDraft extends CoreDraft {
  tc: Partial<InputOf<typeof taskCoreEntry>>;
}

/** State that CRIU's schema has no place for: goes to `stasis-task-PID.json`, which CRIU never opens. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The open files of a dump: gives each open file description one id. */
export interface FileTable {
  /** Id for a borrowed descriptor: shared descriptions get the same one. */
  idOf(file: OpenFile): number;
  /**
   * Id for a file that is mapped, or is an exe, cwd or root: `via` is a path that leads to it (/proc/PID/exe,
   * /proc/PID/map_files/A-B, …), `flags` how it is to be opened again.
   */
  idOfPath(task: TaskRef, via: string, flags: number): number;
  /** Of which type (FdTypes) a file is. */
  typeOf(id: number): number;
}

/** The dump as a whole. */
export interface DumpContext {
  readonly options: CarryOptions;
  readonly images: ImageSetWriter;
  readonly files: FileTable;
  /** The living tasks of the tree, the root first. */
  readonly tree: readonly SeenTask[];
  /** PIDs of those that were found in a group stop. */
  readonly stopped: ReadonlySet<number>;
  /** A new id for an entry of files.img. */
  newFileId(): number;
  /** Something all tasks share while dumping (pipes whose contents are stored already), made once under its name. */
  shared<T>(name: string, make: () => T): T;
  /** Adds an entry to files.img that is no descriptor of a task (a link remap, say). */
  addFile(entry: InputOf<typeof fileEntry>): void;
  /** Appends to an image that all tasks share (pipes-data, tty-info, memfd, remap-fpath …); written at the end. */
  append<M extends Message, E>(image: ImageKind<M, E>, message: InputOf<M>, extra?: E): void;
  /** Pages stored so far are counted here for stats-dump. */
  readonly pages: PageStore;
  /** Tells a person of something that is lost or will not be as it was, though the dump goes on. */
  notice(facts: NoticeFacts): void;
  /** Registers work to be undone if the dump fails or the tasks go on (a link made, say), in reverse order. */
  undo(work: () => void): void;
}

/** Number of the call of a sleep that the kernel does not let us see. */
export const UNSEEN = -1;

/** What a task was asleep in before it was frozen. */
export interface Sleep {
  /** The number of the call, or {@link UNSEEN}. */
  readonly nr: number;
  readonly args: readonly bigint[];
  /** Since when, on performance.now()'s clock; undefined where the kernel does not tell. */
  readonly since: number | undefined;
  /** The function of the kernel it slept in (/proc/PID/wchan). */
  readonly wchan: string;
  /**
   * Nanoseconds left, at the freeze, of timers of sleeping tasks that were gone then although not due: its own is among
   * them, and is the only one if `nr` is restart_syscall. Empty where the kernel does not tell, or nothing depends on it.
   */
  readonly gone: readonly bigint[];
}

/** A frozen thread being dumped. */
export interface DumpThread extends SeenThread {
  readonly context: DumpContext;
  readonly tracee: Tracee;
  /** When the thread was frozen, on performance.now()'s clock. */
  readonly frozenAt: number;
  /** What it was asleep in just before the freeze; undefined if it was awake, and fell asleep in that moment at most. */
  readonly sleep: Sleep | undefined;
  /** Registers at the stop, untouched. */
  readonly registers: Registers;
  readonly core: CoreDraft;
  /** What CRIU's core image has no place for. */
  readonly extra: Record<string, Json>;
  readonly process: DumpTask;
}

/** What clone(2) can leave in common between processes. */
export interface Sharing {
  readonly vm: boolean;
  readonly files: boolean;
  readonly fs: boolean;
  readonly sighand: boolean;
}

/** A frozen process being dumped; as a thread it is its main thread. */
export interface DumpTask extends DumpThread, SeenTask {
  readonly threads: readonly DumpThread[];
  readonly core: TaskCoreDraft;
  /** What an earlier task of this dump has been captured with already, because they share it. */
  readonly captured: Sharing;
  readonly mm: Partial<InputOf<typeof mmEntry>> & { vmas: InputOf<typeof vmaEntry>[] };
  /** Runs programs of a kind's own, in what its `capture` returned: where one for all kinds does not hold everything. */
  readonly remote: Remote;
  /** The bell of the foothold: its old action has to be read from here, see kinds/signals. */
  readonly bell: { readonly signal: number; readonly actionAt: number };
}

/** A stretch of memory to be stored: page-aligned, in bytes. */
export interface PageRange {
  readonly start: number;
  readonly length: number;
}

/** Pages that a task has in common with another one. */
export interface SamePages {
  /** The PID of the other. */
  readonly of: number;
  readonly ranges: readonly PageRange[];
}

/** Stores page contents: `pages-N.img` and its pagemap. */
export interface PageStore {
  /**
   * Stores a task's own pages. `hidden` are those process_vm_readv(2) is not to read: they go another, slower way. `same`
   * are more of them, the same page frames as those of a task that was stored before: they are copied from its image.
   */
  storeTask(pid: number, ranges: readonly PageRange[], hidden: readonly PageRange[], same?: SamePages): void;
  /** Stores pages of a file or segment read through a local descriptor, under a pagemap of their own (shmem). */
  storeSegment(id: number | bigint, local: number, ranges: readonly PageRange[]): void;
}

// --------------------------------------------------------------------------------------------------- restoring

/** The restore as a whole. */
export interface RestoreContext {
  readonly options: CarryOptions;
  readonly images: ImageSet;
  /** files.img by id. */
  readonly files: ReadonlyMap<number, FileEntry>;
  /** The tasks that were in a group stop. They are again before phase `last` of their parents. */
  readonly stopped: readonly PstreeEntry[];
  /**
   * A local descriptor for an entry of files.img, rebuilt when first asked for; owned by the context. With `flags` it is
   * another open file of the same thing, opened in that way, to be mapped.
   */
  open(fileId: number, flags?: number): number;
  /** From now on `local` is the descriptor for an entry: a task had to open it itself. The context owns it. */
  adopt(fileId: number, local: number): void;
  /** Something all tasks share (the entries of an image, a table of pipes), made once under its name. */
  shared<T>(name: string, make: () => T): T;
  /** Tells a person of something that is lost or not as it was, though the restore goes on. */
  notice(facts: NoticeFacts): void;
  /** Registers work to be undone if the restore fails, in reverse order. */
  undo(work: () => void): void;
  /** Registers work for the end of a restore, successful or not (a ghost's temporary name, say). */
  atEnd(work: () => void): void;
}

/** A thread being rebuilt. */
export interface RestoreThread {
  readonly tid: number;
  readonly ref: TaskRef;
  readonly context: RestoreContext;
  readonly core: CoreEntry;
  readonly extra: { readonly [key: string]: Json };
  readonly tracee: Tracee;
  /** All threads of a process have one work area, so only one of them runs a program at a time. */
  readonly remote: Remote;
  /** Calls to be made in the thread; runs by itself when full. */
  readonly batch: Batch;
  readonly process: RestoreTask;
}

/** A process being rebuilt; as a thread it is its main thread. */
export interface RestoreTask extends RestoreThread {
  readonly pid: number;
  readonly tree: PstreeEntry;
  readonly mm: MmEntry;
  readonly fs: FsEntry | undefined;
  readonly fds: readonly FdinfoEntry[];
  readonly seed: Seed;
  /** All of its threads, the first being the process itself; others are made after the kinds' phase `files`. */
  readonly threads: readonly RestoreThread[];
  /**
   * The task it was forked from, when that had its memory (phase `memory` done, `mapped` not yet), so that it begins
   * with a copy of that; undefined for the root.
   */
  readonly origin: RestoreTask | undefined;
  /** What it has in common with its origin, and must not be rebuilt a second time. */
  readonly shares: Sharing;
}

/**
 * The order in which the tasks of a tree are rebuilt. Up to `memory` task by task, parents before their children; from
 * then on, each phase of all tasks before the next one's. Kinds of one phase run in the order of the registry.
 *
 * - `birth`: what children inherit: cgroups, switches; sessions are the tree's planner's
 * - `terminal`: a session leader gets its terminal, before there are others in the session
 * - `memory`: mappings and their contents, writable; the task's own descriptors are not there yet
 * - `mapped`: all children are forked: what they must not inherit, what ends the time of changing memory
 * - `files`: working directory and root; then threads are made, and descriptors handed over and put in place
 * - `state`: what needs privileges we may lose below: locks, timers, names, signal actions
 * - `creds`: scheduling, limits, users, groups, capabilities; after this the task may do little
 * - `last`: what the change of credentials resets (dumpable, pdeath_sig), what must not fire early (timers, pending signals)
 */
export type Phase = 'birth' | 'terminal' | 'memory' | 'mapped' | 'files' | ThreadPhase;

/**
 * Phases of a thread. The process itself, as the main thread, goes through `state` before the others exist for kinds,
 * and through `creds` and `last` when they are finished.
 */
export type ThreadPhase = 'state' | 'creds' | 'last';

// ------------------------------------------------------------------------------------------------------- kinds

/** A kind of state that belongs to a process or its threads: signals, timers, credentials, … */
export interface TaskKind {
  readonly name: string;
  /** Everything of this kind that cannot be carried; called before the freeze and again after it. */
  obstacles?(task: SeenTask): StasisError[];
  /** Everything of this kind that is carried, but not as it is; called like {@link obstacles}. */
  notices?(task: SeenTask): NoticeFacts[];
  /**
   * Reads the state of a frozen task into `task.core`, `task.mm` or `task.extra`. What only the task itself can tell is
   * asked by calls added to `program`; the returned function is called when it has run.
   */
  capture?(task: DumpTask, program: Program): (() => void) | undefined;
  /** Reads in bulk what needs no help of the task, when nothing of Stasis is left in it: its pages. */
  drain?(task: DumpTask): void;
  /**
   * Before there is any process: looks for what is in the way on this machine, and makes what the tasks will find. `root`
   * is the PID of the first.
   */
  prepare?(context: RestoreContext, root: number): void;
  /** Rebuilds the state, phase by phase. */
  readonly rebuild?: { readonly [P in Phase]?: (task: RestoreTask) => void };
  /** What every thread has of its own; called for the main thread too, right after the same door of the process. */
  readonly thread?: ThreadDoors;
}

/** The doors of state that belongs to a thread; as in {@link TaskKind}. */
export interface ThreadDoors {
  obstacles?(thread: SeenThread): StasisError[];
  capture?(thread: DumpThread, program: Program): (() => void) | undefined;
  drain?(thread: DumpThread): void;
  readonly rebuild?: { readonly [P in ThreadPhase]?: (thread: RestoreThread) => void };
}

/** A kind of open file. */
export interface FileKind {
  readonly name: string;
  /** Its number in FdTypes. */
  readonly type: number;
  /** Whether a descriptor is of this kind. The first kind in the registry that says yes has it. */
  recognises(file: OpenFile): boolean;
  /** Why this one cannot be carried, if so. */
  obstacle?(file: OpenFile, task: SeenTask): StasisError | undefined;
  /** What will not be as it is, if so, though it is carried. */
  notice?(file: OpenFile, task: SeenTask): NoticeFacts | undefined;
  /** Describes the open file; `id` is its id in files.img. */
  capture(file: OpenFile, id: number, context: DumpContext): FileDraft;
  /**
   * Makes the open file again: a local descriptor with its flags and position; the caller owns it. With `flags` it is
   * opened in that way instead, to be mapped; kinds that cannot be mapped have no use for them.
   */
  rebuild(entry: FileEntry, context: RestoreContext, flags?: number): number;
  /**
   * Second step, when all descriptors of `task` are in place: epoll targets, inotify watches, owners. Called once for
   * each open file description, in the first task that has it and {@link suits}, with a number it has it under.
   */
  finish?(entry: FileEntry, fd: number, task: RestoreTask): void;
  /** Whether the second step can be done in this task; any task will do where this is missing. */
  suits?(entry: FileEntry, task: RestoreTask): boolean;
}
