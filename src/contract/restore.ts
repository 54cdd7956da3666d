/** A restore, as kinds see it. */
import type { TaskRef } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { ImageSet } from '../images/image-set.ts';
import type { FdinfoEntry, FileEntry, FsEntry } from '../images/schema/files.ts';
import type { MmEntry } from '../images/schema/memory.ts';
import type { CoreEntry } from '../images/schema/task.ts';
import type { PstreeEntry } from '../images/schema/tree.ts';
import type { Batch } from '../tracee/batch.ts';
import type { Remote } from '../tracee/remote.ts';
import type { Seed } from '../tracee/seed.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { CarryOptions } from './carry-options.ts';
import type { Json, Sharing } from './dump.ts';
import type { HasSlots } from './slots.ts';

/** The restore as a whole. */
export interface RestoreContext extends HasSlots {
  readonly options: CarryOptions;
  readonly images: ImageSet;
  /** files.img by id. */
  readonly files: ReadonlyMap<number, FileEntry>;
  /** PID of the first task of the tree. */
  readonly root: number;
  /** The tasks that were in a group stop. Each is stopped again before its parent enters phase `last`. */
  readonly stopped: readonly PstreeEntry[];
  /**
   * A local descriptor for an entry of files.img, rebuilt when first asked for; owned by the context. With `flags` it is
   * another open file of the same thing, opened in that way, to be mapped.
   */
  open(fileId: number, flags?: number): number;
  /** From now on `local` is the descriptor for an entry: a task had to open it itself. The context owns it. */
  adopt(fileId: number, local: number): void;
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

/** Phases that all tasks are through before any of them enters the next one. */
export type TreePhase = Exclude<Phase, 'birth' | 'terminal'>;
