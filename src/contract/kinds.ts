/**
 * What a kind of kernel object is: the doors through which the engine asks it to capture and to rebuild. Doors come at
 * three levels: of the tree, of a process, of a thread; an open file has doors of its own.
 */
import type { Registers } from '../arch/arch.ts';
import type { StasisError } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { FileEntry } from '../images/schema/files.ts';
import type { Program } from '../tracee/program.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { DumpContext, DumpTask, DumpThread, FileDraft } from './dump.ts';
import type { Phase, RestoreContext, RestoreTask, RestoreThread, ThreadPhase, TreePhase } from './restore.ts';
import type { OpenFile, SeenTask, SeenThread, SeenTree } from './seen.ts';

/** How a dump ends: the tasks are killed, run on, or stay stopped; or it has failed, and they run on. */
export type DumpEnd = 'dead' | 'running' | 'stopped' | 'failed';

/** How a restore ends. */
export type RestoreEnd = 'restored' | 'failed';

/**
 * The doors of what exists once in a tree: the graph of its sockets, System V segments, cgroups, clocks, the lock of a
 * network. At a dump they are called in the order they stand in here; `end` is always the last one.
 */
export interface TreeDoors {
  /**
   * Looks at the tree as a whole, before any task is asked for its own obstacles: once while it runs and once when it
   * is frozen. Answers everything that cannot be carried; what it finds out for the capture is left in a slot of `tree`.
   */
  survey?(tree: SeenTree): StasisError[];
  /** The tree stands still and can be carried; nothing has been asked of its tasks yet. */
  frozen?(context: DumpContext): void;
  /** All tasks have been asked, and nothing of Stasis is left in them: what the tree has once is saved. */
  capture?(context: DumpContext): void;
  /**
   * The dump is over, and all tasks still stand still. Called in any case, for each kind that was asked for `frozen`, also
   * if another one throws here.
   */
  end?(context: DumpContext, how: DumpEnd): void;
  /**
   * Before there is any process: looks for what is in the way on this machine, and makes what the tasks will find.
   * @throws StasisError
   */
  prepare?(context: RestoreContext): void;
  /**
   * Called when all tasks have been through a phase; for `memory`, when all processes are there; for `state`, when all
   * threads are finished; for `files`, before the descriptors are in their places.
   */
  readonly rebuilt?: { readonly [P in TreePhase]?: (context: RestoreContext) => void };
  /**
   * The restore is over: all tasks are rebuilt and still stand still, or none is left. Called in any case once `prepare`
   * was, also if another kind throws here.
   */
  restoreEnd?(context: RestoreContext, how: RestoreEnd): void;
}

/** What a process is born with, and cannot be given later. */
export interface BirthTraits {
  /** The signal by which its parent is told of its end. */
  exitSignal: number;
}

/** How a restored thread goes on; made up by the kinds' `depart`. */
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
   * Names of kinds whose doors have to be called before this one's, wherever both have the same one. The registry's order
   * is checked against it (test/pure/kinds/registry.test.ts).
   */
  readonly after?: readonly string[];
  /** What exists once in the tree. */
  readonly tree?: TreeDoors;
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
  /** What a process must be born with: called before it is forked, with its images. */
  born?(saved: Pick<RestoreTask, 'extra'>): Partial<BirthTraits>;
  /** Rebuilds the state, phase by phase. */
  readonly rebuild?: { readonly [P in Phase]?: (task: RestoreTask) => void };
  /** What every thread has of its own; called for the main thread too, right after the same door of the process. */
  readonly thread?: ThreadDoors;
}

/** The doors of state that belongs to a thread; as in {@link TaskKind}. */
export interface ThreadDoors {
  /**
   * A thread has just stopped for the freeze: what has to be seen to before it executes anything for us, even if it is let
   * go again at once.
   */
  stopped?(tracee: Tracee): void;
  obstacles?(thread: SeenThread): StasisError[];
  capture?(thread: DumpThread, program: Program): (() => void) | undefined;
  drain?(thread: DumpThread): void;
  readonly rebuild?: { readonly [P in ThreadPhase]?: (thread: RestoreThread) => void };
  /** The very last thing done inside a thread, before the work area goes: adds to how it is to go on. */
  depart?(thread: RestoreThread, departure: Departure): void;
}

/** A kind of open file. */
export interface FileKind {
  readonly name: string;
  /** Its number in FdTypes. */
  readonly type: number;
  /** What files of this kind have in common in the tree. */
  readonly tree?: TreeDoors;
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
