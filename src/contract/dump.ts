/** A dump, as kinds see it. */
import type { Registers } from '../arch/arch.ts';
import type { TaskRef } from '../base/errors.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { ImageSetWriter } from '../images/image-set.ts';
import type { ImageKind } from '../images/kind.ts';
import type { InputOf, Message } from '../images/message.ts';
import type { fileEntry } from '../images/schema/files.ts';
import type { mmEntry, vmaEntry } from '../images/schema/memory.ts';
import type { coreEntry, taskCoreEntry, threadCoreEntry } from '../images/schema/task.ts';
import type { Remote } from '../tracee/remote.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { CarryOptions } from './carry-options.ts';
import type { OpenFile, SeenTask, SeenThread, SeenTree } from './seen.ts';
import type { HasSlots } from './slots.ts';

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
export interface DumpContext extends HasSlots {
  readonly options: CarryOptions;
  readonly images: ImageSetWriter;
  readonly files: FileTable;
  /** The look at the frozen tree, with what the search for obstacles has found out about it. */
  readonly tree: SeenTree;
  /** PIDs of those that were found in a group stop. */
  readonly stopped: ReadonlySet<number>;
  /** A new id for an entry of files.img. */
  newFileId(): number;
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

/** What a task was asleep in before it was frozen. */
export interface Sleep {
  /** The number of the call, or `UNSEEN` (kernel/timed-calls.ts). */
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
