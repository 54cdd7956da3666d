/** The interface of a dump towards kinds. */

import type { Registers } from '../arch/arch.ts';
import type { HostPid, LocalFd } from '../base/brands.ts';
import type { NoticeFacts } from '../base/notice.ts';
import type { ImageSetWriter } from '../images/image-set-writer.ts';
import type { ImageKind } from '../images/kind.ts';
import type { InputOf, Message } from '../images/message.ts';
import type { fileEntry } from '../images/schema/files.ts';
import type { mmEntry, vmaEntry } from '../images/schema/memory.ts';
import type { coreEntry, taskCoreEntry, threadCoreEntry } from '../images/schema/task.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import type { ProcStat } from '../kernel/proc/stat.ts';
import type { Remote } from '../tracee/remote.ts';
import type { Tracee } from '../tracee/tracee.ts';
import type { CarryOptions } from './carry-options.ts';
import type { OpenFile, PidView, SeenRef, SeenTask, SeenThread, SeenTree } from './seen.ts';
import type { HasSlots } from './slots.ts';

/** What a file kind returns for the image: a file_entry without its type and id. */
export type FileDraft = Omit<InputOf<typeof fileEntry>, 'type' | 'id'>;

/** The core image of a thread while it is built; kinds fill in their fields. */
export interface CoreDraft {
  mtype: number;
  thread_info?: InputOf<typeof coreEntry>['thread_info'];
  thread_core: Partial<InputOf<typeof threadCoreEntry>>;
}

/** The core image of a main thread, which also holds state of the process. */
export interface TaskCoreDraft extends CoreDraft {
  tc: Partial<InputOf<typeof taskCoreEntry>>;
}

/** State that CRIU's schema has no place for. It is written to `stasis-task-PID.json`, which CRIU never opens. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The open files of a dump: gives each open file description one id. */
export interface FileTable {
  /** The ID of the open file description behind a borrowed descriptor; descriptors that share it get the same ID. */
  idOf(file: OpenFile): number;
  /**
   * The ID of a file that is mapped, or is an exe, cwd or root. `via` is a path in /proc that leads to it
   * (/proc/PID/exe, /proc/PID/map_files/A-B, …), `flags` are the open flags for the restore.
   */
  idOfPath(task: SeenRef, via: string, flags: number): number;
  /** The type (FdTypes) of a file. */
  typeOf(id: number): number;
}

/** The dump as a whole. */
export interface DumpContext extends HasSlots {
  readonly options: CarryOptions;
  readonly images: ImageSetWriter;
  readonly openFiles: FileTable;
  /** The snapshot of the frozen tree. Its slots hold what the obstacle checks have found out. */
  readonly tree: SeenTree;
  /** PIDs of the tasks that were in a group stop before the freeze. */
  readonly groupStopped: ReadonlySet<number>;
  /** A new ID for an entry of files.img. */
  newFileId(): number;
  /** Adds an entry to files.img that belongs to no descriptor of a task (for example a link remap). */
  addFile(entry: InputOf<typeof fileEntry>): void;
  /** Appends to an image that all tasks share (pipes-data, tty-info, memfd, remap-fpath …); written at the end. */
  append<M extends Message, E>(image: ImageKind<M, E>, message: InputOf<M>, payload?: E): void;
  /** Stores page contents, and counts them for stats-dump. */
  readonly pages: PageStore;
  /** Tells which pages have not changed since the previous dump; undefined if this one is on its own. */
  readonly changes: MemoryChanges | undefined;
  /** Reports to the user that some state is lost or will change, although the dump goes on. */
  notice(facts: NoticeFacts): void;
  /**
   * Registers cleanup (of a link made, for example) that runs, in reverse order, if the dump fails or the tasks
   * continue.
   */
  undo(work: () => void): void;
}

/** The system call a thread was sleeping in before it was frozen. */
export interface Sleep {
  /** The number of the call, or `UNSEEN` (kernel/timed-calls.ts). */
  readonly nr: number;
  readonly args: readonly bigint[];
  /** When it fell asleep, in milliseconds of performance.now(); undefined where the kernel does not tell. */
  readonly since: number | undefined;
  /** The kernel function it was sleeping in (/proc/PID/wchan). */
  readonly wchan: string;
  /**
   * The kernel's timers that were there before the freeze and are gone after it although they were not due, each as
   * nanoseconds left at the freeze, ascending. The timer of this sleep is among them; if `nr` is restart_syscall and
   * the timers could be told apart, it is the only one. Empty where the kernel does not tell, or where nothing depends
   * on it.
   */
  readonly gone: readonly bigint[];
}

/** A frozen thread being dumped. */
export interface DumpThread extends SeenThread {
  readonly context: DumpContext;
  readonly tracee: Tracee;
  /** When the thread was frozen, in milliseconds of performance.now(). */
  readonly frozenAt: number;
  /**
   * The call it was sleeping in just before the freeze; undefined if it was awake, so that any sleep found now began at
   * the freeze.
   */
  readonly sleep: Sleep | undefined;
  /** The registers at the stop, before Stasis changed any. */
  readonly registers: Registers;
  readonly core: CoreDraft;
  /** What no image of CRIU has a place for, by kind. It is saved in a file of our own, `stasis-task-PID.json`. */
  readonly ownState: Record<string, Json>;
  readonly process: DumpTask;
}

/** What processes can share through clone(2). */
export interface Sharing {
  readonly vm: boolean;
  readonly files: boolean;
  readonly fs: boolean;
  readonly sighand: boolean;
}

/** A signal of which the task has another action meanwhile. */
export interface Bell {
  readonly signal: number;
  /** Address of its own action, a struct sigaction. */
  readonly actionAt: number;
}

/** A frozen process being dumped; as a thread it is its main thread. */
export interface DumpTask extends DumpThread, SeenTask {
  readonly threads: readonly DumpThread[];
  readonly core: TaskCoreDraft;
  /** What this task shares with a task captured earlier, so that it is captured already. */
  readonly captured: Sharing;
  readonly mm: Partial<InputOf<typeof mmEntry>> & { vmas: InputOf<typeof vmaEntry>[] };
  /**
   * Runs further programs. A kind uses it in the function its `capture` returned, if the one program for all kinds
   * cannot hold everything.
   */
  readonly remote: Remote;
  /**
   * The bell signal of the foothold, and the address at which the task's own action for it is kept; undefined if the
   * action is what it was. See kinds/task/signals.
   */
  readonly bell: Bell | undefined;
}

/** What {@link MemoryChanges} need of a task. */
export interface MemoryOwner extends Pick<SeenTask, 'pid' | 'vmas'> {
  readonly stat: Pick<ProcStat, 'starttime'>;
  readonly tree: { readonly pids: Pick<PidView, 'saved'> };
}

/** Notices which pages of tasks change from one dump to the next. All tasks are stopped. */
export interface MemoryChanges {
  /** Whether the task has to run something first, so that from now on its writes are noticed. */
  mustEnter(task: MemoryOwner): boolean;
  /** Has it do that. */
  enter(task: MemoryOwner, remote: Remote): void;
  /**
   * Those of the task's own pages that the images of the previous dump hold unchanged. If the next dump is to know,
   * writes are noticed from now on. `unwritten`: those of them that are known not to have been written to since writes
   * are noticed; undefined if that is still to be found out.
   */
  inParent(task: MemoryOwner, own: readonly PageRange[], unwritten?: readonly PageRange[]): PageRange[];
}

/** A range of memory: page-aligned, in bytes. */
export interface PageRange {
  readonly start: number;
  readonly length: number;
}

/** Pages whose frames a task shares with another task. */
export interface SamePages {
  /** The PID of the other. */
  readonly of: number;
  readonly ranges: readonly PageRange[];
}

/** The pages of a task that a dump stores, each list ascending. */
export interface TaskPages {
  readonly plain: readonly PageRange[];
  /** Pages that process_vm_readv(2) must not read; they are read through /proc/PID/mem, which is slower. */
  readonly hidden: readonly PageRange[];
  /** Further pages that share frames with a task stored earlier; they are copied from that task's image. */
  readonly same?: SamePages | undefined;
  /** Further pages that have not changed since the previous dump, which stored them. */
  readonly inParent?: readonly PageRange[] | undefined;
  /** Which of all these a restore may leave until they are needed; there may be more in it. */
  readonly lazy?: readonly PageRange[] | undefined;
}

/** Stores page contents: `pages-N.img` and its pagemap. */
export interface PageStore {
  /** Stores a task's own pages. */
  storeTask(pid: HostPid, pages: TaskPages): void;
  /**
   * Stores a task's own pages when the tree goes on, if somebody keeps its memory until then. Returns whether. `sort`
   * makes of all pages of its own what is stored, and is called then.
   */
  storeTaskLater(pid: HostPid, vmas: readonly ProcVma[], sort: (own: readonly PageRange[]) => TaskPages): boolean;
  /** Stores pages of a segment, read through a local descriptor, under a pagemap of their own (pagemap-shmem). */
  storeSegment(id: number | bigint, local: LocalFd, ranges: readonly PageRange[]): void;
}
