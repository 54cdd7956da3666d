/**
 * The interface of a kind of kernel object. A door is a function that the engine calls to capture or to rebuild state.
 * There are doors for the tree, for a process, for a thread and for an open file.
 */

import type { Registers } from '../arch/arch.ts';
import type { LocalFd, TaskFd } from '../base/brands.ts';
import type { StasisError } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { FileEntry } from '../images/schema/files.ts';
import type { Program } from '../tracee/program.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { DumpContext, DumpTask, DumpThread, FileDraft } from './dump.ts';
import type { Phase, RestoreContext, RestoreTask, RestoreThread, ThreadPhase, TreePhase } from './restore.ts';
import type { OpenFile, SeenTask, SeenThread, SeenTree } from './seen.ts';

/**
 * How a dump ends: the tasks are killed, continue to run, or stay stopped; `failed`: the dump failed and they continue.
 */
export type DumpEnd = 'dead' | 'running' | 'stopped' | 'failed';

/** How a restore ends. */
export type RestoreEnd = 'restored' | 'failed';

/**
 * The doors for state that exists once in a tree: the graph of its sockets, System V segments, cgroups, clocks, the
 * network lock. A dump calls them in the order they are listed here; `end` is always the last.
 */
export interface TreeDoors {
  /**
   * Examines the tree as a whole, before the obstacle checks of its tasks: once while it runs and once when it is
   * frozen. Returns everything that cannot be carried. What the capture needs of its findings is kept in a slot of
   * `tree`.
   */
  survey?(tree: SeenTree): StasisError[];
  /**
   * Whether the kernel may still change the frozen tree by itself, on behalf of requests that the tasks have made, so
   * that a snapshot of it may be out of date. Called with each snapshot of the frozen tree, before {@link survey};
   * `before` is the previous one, whose descriptors are closed. While a kind says so, another snapshot is made.
   */
  unsteady?(tree: SeenTree, before: SeenTree | undefined): boolean;
  /** Called when the tree is frozen and can be carried, before any task is captured. */
  frozen?(context: DumpContext): void;
  /**
   * Saves state that exists once in the tree. Called when all tasks are captured and nothing of Stasis is left in them.
   */
  capture?(context: DumpContext): void;
  /**
   * Called at the end of the dump, while all tasks are still stopped. It is called in any case for each kind whose
   * `frozen` was called, also if another kind throws here.
   */
  end?(context: DumpContext, how: DumpEnd): void;
  /** Called when a dump has killed all tasks. What it needs of them has to be taken in {@link end}. */
  dead?(context: DumpContext): void;
  /**
   * Called when the images have been read, before the hooks of the point pre-restore: these may give the machine an
   * address or a file system that `prepare` looks for.
   */
  begin?(context: RestoreContext): void;
  /**
   * Called before any process is made: checks for conflicts with this machine, and makes objects that exist outside of
   * the tasks.
   * @throws StasisError
   */
  prepare?(context: RestoreContext): void;
  /**
   * Called when all tasks have finished a phase. `memory`: all processes exist. `state`: all threads are finished.
   */
  readonly rebuilt?: { readonly [P in TreePhase]?: (context: RestoreContext) => void };
  /**
   * Called at the end of the restore: all tasks are rebuilt and still stopped, or none is left. It is called in any
   * case once `begin` was called for the first kind, also if another kind throws here.
   */
  restoreEnd?(context: RestoreContext, how: RestoreEnd): void;
}

/** Properties that clone3(2) sets and that cannot be changed later. */
export interface BirthTraits {
  /** The signal its parent gets when it ends. */
  exitSignal: number;
}

/** How a restored thread continues; the `depart` doors of the kinds fill it in. */
export interface Departure {
  /** The interrupted system call, if it was made again: its number and result (-ERESTART_RESTARTBLOCK, or its own). */
  call?: { readonly nr: number; readonly result: number };
  /** Its registers. */
  registers?: Registers;
}
/** A kind of state that belongs to a process or its threads: signals, timers, credentials, … */
export interface TaskKind {
  readonly name: string;
  /**
   * Names of kinds whose doors are called before those of this kind, where both have the same door. A test compares the
   * order of the registry with it (test/pure/kinds/registry.test.ts).
   */
  readonly after?: readonly string[];
  /** What exists once in the tree. */
  readonly tree?: TreeDoors;
  /** Returns all state of this kind that cannot be carried. Called before the freeze and again after it. */
  obstacles?(task: SeenTask): StasisError[];
  /** Returns all state of this kind that is carried but will change. Called like {@link obstacles}. */
  notices?(task: SeenTask): NoticeFacts[];
  /**
   * Reads the state of a frozen task into `task.core`, `task.mm` or `task.ownState`. What only the task itself can find
   * out is asked by calls added to `program`; the returned function is called when the program has run, and reads their
   * results.
   */
  capture?(task: DumpTask, program: Program): (() => void) | undefined;
  /** Reads bulk data from outside: the pages of the task. Called when nothing of Stasis is left in it. */
  drain?(task: DumpTask): void;
  /** Returns properties that the process must be cloned with. Called with its images, before it is made. */
  born?(saved: Pick<RestoreTask, 'ownState'>): Partial<BirthTraits>;
  /** Rebuilds the state, one function for each phase. */
  readonly rebuild?: { readonly [P in Phase]?: (task: RestoreTask) => void };
  /**
   * The doors for state of a thread. They are called for the main thread too, right after the same door of the process.
   */
  readonly thread?: ThreadDoors;
}

/** The doors of state that belongs to a thread; as in {@link TaskKind}. */
export interface ThreadDoors {
  /**
   * Called when a thread has just stopped for the freeze, before it executes anything for Stasis, and also if it is let
   * go again at once.
   */
  stopped?(tracee: Tracee): void;
  obstacles?(thread: SeenThread): StasisError[];
  capture?(thread: DumpThread, program: Program): (() => void) | undefined;
  drain?(thread: DumpThread): void;
  readonly rebuild?: { readonly [P in ThreadPhase]?: (thread: RestoreThread) => void };
  /** Called last inside a thread, before the work area is unmapped. Adds to the way it continues. */
  depart?(thread: RestoreThread, departure: Departure): void;
}

/** What is known of each kind of open file, also where no such file is met. */
export interface FileSign {
  readonly name: string;
  /** Its number in FdTypes. */
  readonly type: number;
  /** Whether a descriptor is of this kind. The first kind in the registry that recognises it handles it. */
  recognises(file: OpenFile): boolean;
  /**
   * Whether the second step may make the file itself, so that it comes before the second steps of other kinds, which
   * may refer to the file.
   */
  readonly makesItself?: boolean;
}

/** The doors of a kind of open file. */
export interface FileDoors {
  /** The doors for state that files of this kind share in the tree. */
  readonly tree?: TreeDoors;
  /** Why this file cannot be carried; undefined if it can. */
  obstacle?(file: OpenFile, task: SeenTask): StasisError | undefined;
  /** What will change although the file is carried; undefined if nothing. */
  notice?(file: OpenFile, task: SeenTask): NoticeFacts | undefined;
  /** Captures the open file; `id` is its ID in files.img. */
  capture(file: OpenFile, id: number, context: DumpContext): FileDraft;
  /**
   * Makes the open file again. Returns a local descriptor with its flags and position, which the caller owns. With
   * `flags` it is opened with these flags instead, to be mapped; kinds whose files cannot be mapped ignore them.
   */
  rebuild(entry: FileEntry, context: RestoreContext, flags?: number): LocalFd;
  /**
   * The second step, when all descriptors of `task` are in place: epoll targets, inotify watches, owners. Called once
   * for each open file description, in the first task that has it and {@link suits}. `fd` is a descriptor of that task
   * for it.
   */
  finish?(entry: FileEntry, fd: TaskFd, task: RestoreTask): void;
  /** Whether the second step can be done in this task. Without this function it can be done in any. */
  suits?(entry: FileEntry, task: RestoreTask): boolean;
}

/** A kind of open file. */
export interface FileKind extends FileSign, FileDoors {
  /**
   * Loads its doors, where that is not done before the first file is met. A restore calls it for the kinds of all files
   * in the images; {@link FileSign.recognises} loads them for what it recognises.
   */
  meet?(): void;
}
