/** The interface of a restore towards kinds. */
import type { HostPid, LocalFd, SavedPid } from '../base/brands.ts';
import type { TaskRef } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { ImageSet } from '../images/image-set.ts';
import type { OwnProcessState, OwnThreadState } from '../images/own-files.ts';
import type { FdinfoEntry, FileEntry, FsEntry } from '../images/schema/files.ts';
import type { MmEntry } from '../images/schema/memory.ts';
import type { CoreEntry } from '../images/schema/task.ts';
import type { PstreeEntry } from '../images/schema/tree.ts';
import type { Batch } from '../tracee/batch.ts';
import type { Remote } from '../tracee/remote.ts';
import type { Seed } from '../tracee/seed.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { CarryOptions } from './carry-options.ts';
import type { PageRange, Sharing } from './dump.ts';
import type { IdView } from './seen.ts';
import type { HasSlots } from './slots.ts';

/** The restore as a whole. */
export interface RestoreContext extends HasSlots {
  /** Who brings pages when they are needed; undefined: all memory is filled at once. */
  readonly lazy?: LazyDelivery | undefined;
  /** Memory of the root that is there already; undefined: there is none. */
  readonly prepared?: PreparedSpace | undefined;
  /** Told of memory that was filled, for the progress; absent where nobody wants to know. */
  readonly filled?: ((bytes: number) => void) | undefined;
  readonly options: CarryOptions;
  readonly images: ImageSet;
  /** The entries of files.img by ID. */
  readonly fileEntries: ReadonlyMap<number, FileEntry>;
  /** PID of the first task of the tree. */
  readonly root: number;
  /** Users and groups as the images hold them. */
  readonly ids: IdView;
  /** The number here of a process or thread of the tree; undefined if it is not there. */
  hostPid(saved: number): HostPid | undefined;
  /**
   * What a task calls a process, a thread, a session or a group of the tree, in a tree of several PID namespaces; 0 if
   * it does not see it.
   */
  numberFor(task: RestoreTask, saved: number): number;
  /** The number here of a process group; undefined if none of its members is there. */
  hostGroup(saved: number): HostPid | undefined;
  /** Whether the root's parent is Stasis, and ends when the restore is done. */
  readonly parentEnds: boolean;
  /** The tasks that were in a group stop. Each is stopped again before its parent enters phase `last`. */
  readonly groupStopped: readonly PstreeEntry[];
  /**
   * A local descriptor for an entry of files.img, rebuilt when first asked for and owned by the context. With `flags`
   * it is another open file description of the same file, opened with these flags, to be mapped.
   */
  open(fileId: number, flags?: number): LocalFd;
  /**
   * As {@link open}, for a file that is in a message. If no task has a descriptor for it, the second step of its kind
   * is done with one that a task has for that time.
   */
  openCarried(fileId: number): LocalFd;
  /**
   * Makes `local` the descriptor for an entry, if a task had to open the file itself. The context owns it from then on.
   */
  adopt(fileId: number, local: LocalFd): void;
  /** Reports to the user that some state is lost or has changed, although the restore goes on. */
  notice(facts: NoticeFacts): void;
  /**
   * Has an attached restore, which was started in the background of its terminal, call `work` from time to time when
   * the tree runs, until it answers true: the job has been brought to the foreground.
   */
  whenInFront(work: () => boolean): void;
  /**
   * Hands the master of a terminal out to whoever has asked for the restore, who keeps a copy of the descriptor.
   * @throws StasisError if they do not take it
   */
  handOut(master: LocalFd): void;
  /** Registers cleanup that runs, in reverse order, if the restore fails. */
  undo(work: () => void): void;
  /**
   * Registers work for the end of the restore, successful or not (for example the removal of a ghost's temporary name).
   */
  atEnd(work: () => void): void;
}

/** A part of the root's address space that was made before the restore began. */
export interface PreparedSpace {
  /** Private anonymous mappings, ascending, all writable. */
  readonly mappings: readonly PageRange[];
  /** Their contents, and where these are stored. */
  readonly pieces: readonly (PageRange & { readonly file: string; readonly offset: number })[];
}

/** Somebody who brings the pages of tasks later (`--lazy-pages`). */
export interface LazyDelivery {
  /** Gives them the userfaultfd of a task, by which they do it; ours can be closed then. @throws StasisError */
  hand(pid: SavedPid, userfault: LocalFd): void;
}

/** A thread being rebuilt. */
export interface RestoreThread {
  readonly tid: SavedPid;
  readonly ref: TaskRef;
  readonly context: RestoreContext;
  readonly core: CoreEntry;
  readonly ownState: OwnThreadState;
  readonly tracee: Tracee;
  /**
   * Runs programs in the thread. All threads of a process share one work area, so only one of them runs a program at a
   * time.
   */
  readonly remote: Remote;
  /** Collects calls for the thread; it runs them when it is full. */
  readonly batch: Batch;
  readonly process: RestoreTask;
}

/** A process being rebuilt; as a thread it is its main thread. */
export interface RestoreTask extends RestoreThread {
  readonly pid: SavedPid;
  readonly ownState: OwnProcessState;
  /** Its entry in pstree.img. */
  readonly pstree: PstreeEntry;
  readonly mm: MmEntry;
  readonly fs: FsEntry | undefined;
  readonly fds: readonly FdinfoEntry[];
  readonly seed: Seed;
  /** All of its threads, the first being the process itself; others are made after the kinds' phase `files`. */
  readonly threads: readonly RestoreThread[];
  /**
   * The task it was forked from, after that task's phase `memory` and before its `mapped`, so that it starts with a
   * copy of that task's memory; undefined for the root.
   */
  readonly origin: RestoreTask | undefined;
  /** What it shares with its origin, so that it must not be rebuilt a second time. */
  readonly shares: Sharing;
  /** Whether no other task of the tree has the same memory, descriptor table, or working directory (CLONE_FS). */
  readonly isAlone: boolean;
}

/**
 * The order in which the tasks of a tree are rebuilt. Up to `memory` parents are rebuilt before their children. After
 * that, all tasks finish a phase before any enters the next one. Within a phase the kinds run in the order of the
 * registry. The calls that a kind adds to a batch in `birth` and `files` run with what comes next; in the other phases,
 * those of tasks that are alone run while the next task is dealt with.
 *
 * - `birth`: state that children inherit: cgroups, prctl switches (sessions are set by the steps of the tree plan)
 * - `terminal`: a session leader gets its terminal, before there are other tasks in the session
 * - `memory`: mappings and their contents, still writable; the task has no descriptors of its own yet
 * - `mapped`: all children are forked: state they must not inherit, and final protections and seals
 * - `files`: working directory and root; then threads are made, descriptors are handed over and put in place
 * - `state`: what needs privileges that `creds` may take away: locks, timers, names, signal actions
 * - `creds`: scheduling, limits, users, groups, capabilities; after this the task may do little
 * - `last`: what a change of credentials resets (dumpable, pdeath_sig), and what must not take effect early (timers,
 *   pending signals)
 */
export type Phase = 'birth' | 'terminal' | 'memory' | 'mapped' | 'files' | ThreadPhase;

/**
 * Phases of a thread. The main thread goes through `state` before the doors of the other threads are called, and
 * through `creds` and `last` when the other threads are finished.
 */
export type ThreadPhase = 'state' | 'creds' | 'last';

/** Phases that all tasks finish before any task enters the next one; `files` goes over into placing descriptors. */
export type TreePhase = Exclude<Phase, 'birth' | 'terminal' | 'files'>;
