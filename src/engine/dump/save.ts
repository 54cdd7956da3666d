/** Saves a frozen tree into images. */
import { thisArch } from '../../arch/index.ts';
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { addTo } from '../../base/lists.ts';
import { logDebug } from '../../base/log.ts';
import type { Notices } from '../../base/notice.ts';
import { encodeText } from '../../base/text.ts';
import type { UndoStack } from '../../base/undo.ts';
import type {
  CoreDraft,
  DumpContext,
  DumpTask,
  DumpThread,
  Json,
  MemoryChanges,
  SeenThread,
  SeenTree,
  TaskCoreDraft,
} from '../../contract/contract.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import { Images } from '../../images/kinds.ts';
import type { InputOf } from '../../images/message.ts';
import { ownStateName } from '../../images/own-files.ts';
import { TaskState } from '../../images/schema/task.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { NOBODY } from '../../kernel/proc/tree.ts';
import { taskKinds, treeDoors } from '../../kinds/registry.ts';
import { Pages } from '../../memory/pages.ts';
import type { PagesElsewhere } from '../../memory/sinks/sink.ts';
import { PID_PLACES } from '../../namespaces/pid/seen.ts';
import { writeNotes } from '../../support/file-notes.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { getSignalMask } from '../../tracee/ptrace.ts';
import type { Hooks } from '../hooks.ts';
import { makeContext, SharedImages } from './context.ts';
import { OpenFileTable } from './file-table.ts';
import type { FrozenProcess, FrozenThread } from './freeze/freeze.ts';
import { ROOT_CG_SET } from './inventory.ts';
import type { LiveMemory } from './live.ts';
import { captureNamespaces } from './namespaces.ts';
import { idsEntry, OBJECTS, type ObjectIds } from './object-ids.ts';
import { askAll, type MutableDumpTask, Question } from './questions.ts';
import type { TaskSnapshot } from './snapshot.ts';

/** The state of a dump after the freeze. */
export interface DumpInMaking {
  readonly context: DumpContext;
  readonly files: OpenFileTable;
  readonly pages: Pages;
  readonly shared: SharedImages;
  /** Undefined if all memory is to be stored while the tasks are stopped. */
  readonly live: LiveMemory | undefined;
}

/** Makes everything that the dump of a frozen tree needs; `tree` is the snapshot of its living processes. */
export function beginDump(
  processes: readonly FrozenProcess[],
  tree: SeenTree,
  images: ImageSetWriter,
  undo: UndoStack,
  notices: Notices,
  hooks: Hooks,
  changes: MemoryChanges | undefined,
  elsewhere: PagesElsewhere | undefined,
  keeps: boolean,
  live: LiveMemory | undefined,
): DumpInMaking {
  const progress = memoryProgress(tree.tasks, hooks);
  const pages = new Pages(images, (pid) => tree.pids.saved(pid), elsewhere, progress, keeps, live);
  const files = new OpenFileTable();
  const shared = new SharedImages();
  const stopped = new Set(
    processes.filter(({ threads }) => threads[0]?.tracee.groupStop !== undefined).map(({ pid }) => pid),
  );
  const context = makeContext(tree, stopped, images, files, pages, shared, undo, notices, changes);
  files.attach(context);
  return { context, files, pages, shared, live };
}

/**
 * Tells of memory that is saved; undefined where nobody wants to know. The total is what is resident: more than is
 * saved.
 */
function memoryProgress(tasks: SeenTree['tasks'], { progress }: Hooks): ((bytes: number) => void) | undefined {
  if (!progress) return undefined;
  const total = tasks.reduce((sum, { stat }) => sum + stat.rss * PAGE_SIZE, 0);
  let done = 0;
  return (bytes) => {
    done += bytes;
    progress({ step: 'memory', done, total: Math.max(total, done) });
  };
}

/** Saves all of a frozen tree but what completes an image set. `snapshot` are its living processes. */
export function saveTree(
  processes: readonly FrozenProcess[],
  snapshot: readonly TaskSnapshot[],
  { context, files, pages, shared, live }: DumpInMaking,
  hooks: Hooks,
): void {
  const { images } = context;
  const objects = OBJECTS.of(context.tree);
  const frozen = new Map(processes.map((process) => [process.pid, process]));
  const saved = snapshot.map((seen) => {
    const own = objects.get(seen.pid);
    if (!own) throw new StasisError({ kind: 'internal', task: seen.ref, reason: 'its objects have no numbers' });
    const { ids, known } = own;
    return { seen, ids, task: makeTask(seen, frozen.get(seen.pid), known, context) };
  });
  logDebug('observed');
  const byMemory = new Map<number, DumpThread[]>();
  for (const { task, ids } of saved) for (const thread of task.threads) addTo(byMemory, ids.vm, thread);
  const questions = saved.map(
    ({ task, seen, ids }) => new Question(task, seen, ids.vm, byMemory.get(ids.vm) ?? [], live),
  );
  askAll(questions, (done) => hooks.progress?.({ step: 'asking', done, total: saved.length }));
  logDebug('asked; nothing of Stasis is left in the tasks');
  for (const doors of treeDoors) doors.capture?.(context);
  for (const { task } of saved) drain(task);
  logDebug(`memory is stored: ${pages.counts.written} pages`);
  hooks.progress?.({ step: 'writing', done: 0, total: saved.length });
  for (const { task, ids } of saved) writeTask(task, ids, images, files);
  for (const { pid, zombie } of processes) if (zombie) writeZombie(pid, context);
  // When all files are saved: links that were made for some of them are part of what is in the namespaces.
  captureNamespaces(context);
  images.write(Images.files, undefined, files.entries);
  images.write(
    Images.pstree,
    undefined,
    processes.map((process) => treeEntry(process, context.tree)),
  );
  const places = PID_PLACES.of(context.tree, 'saved')?.encode();
  if (places) images.put(places.name, places.bytes);
  shared.write(images);
  writeNotes(context);
}

function drain(task: DumpTask): void {
  requireUninterrupted();
  for (const kind of taskKinds) {
    kind.drain?.(task);
    if (kind.thread?.drain) for (const thread of task.threads) kind.thread.drain(thread);
  }
}

function makeTask(
  seen: TaskSnapshot,
  frozen: FrozenProcess | undefined,
  captured: DumpTask['captured'],
  context: DumpContext,
): MutableDumpTask {
  const [main, ...others] = frozen?.threads ?? [];
  if (!main) throw new StasisError({ kind: 'internal', task: seen.ref, reason: 'saved without being frozen' });
  const task = {
    pid: seen.pid,
    vmas: seen.vmas,
    limits: seen.limits,
    fds: seen.fds,
    tree: seen.tree,
    captured,
    mm: { vmas: [], aios: [] },
    bell: undefined,
    fdFlags: new Map(),
    ...threadPart(seen, main, context),
    core: taskCore(seen, main),
  } as unknown as MutableDumpTask; // `process` and `threads` follow: the three know each other
  task.process = task;
  const seenThreads = new Map(seen.threads.map((thread) => [thread.tid, thread]));
  const threads = others.map((thread): DumpThread => {
    const about = seenThreads.get(thread.tid);
    if (!about)
      throw new StasisError({ kind: 'internal', task: seen.ref, reason: `thread ${thread.tid} was not seen` });
    return { ...threadPart(about, thread, context), core: threadCore(about, thread), process: task };
  });
  task.threads = [task, ...threads];
  return task;
}

function threadPart(
  seen: SeenThread,
  { tracee, frozenAt, sleep }: FrozenThread,
  context: DumpContext,
): Omit<DumpThread, 'core' | 'process'> {
  const { tid, ref, stat, status, options } = seen;
  return {
    tid,
    ref,
    stat,
    status,
    options,
    context,
    tracee,
    frozenAt,
    sleep,
    registers: tracee.getRegisters(),
    ownState: {},
  };
}

function threadCore(seen: SeenThread, { tracee }: FrozenThread): CoreDraft {
  return {
    mtype: 0,
    thread_core: {
      futex_rla: 0,
      futex_rla_len: 0,
      blk_sigset: getSignalMask(tracee.pid),
      comm: seen.stat.comm,
      cg_set: ROOT_CG_SET,
    },
  };
}

function taskCore(seen: TaskSnapshot, main: FrozenThread): TaskCoreDraft {
  const core = threadCore(seen, main);
  const { groupStop } = main.tracee;
  return {
    ...core,
    tc: {
      task_state: groupStop === undefined ? TaskState.ALIVE : TaskState.STOPPED,
      exit_code: 0,
      personality: 0,
      flags: seen.stat.flags,
      blk_sigset: core.thread_core.blk_sigset ?? 0n,
      comm: seen.stat.comm,
      sigactions: [],
      ...(groupStop === undefined ? {} : { stop_signo: groupStop }),
    },
  };
}

function writeTask(task: MutableDumpTask, ids: ObjectIds, images: ImageSetWriter, files: OpenFileTable): void {
  const { pids } = task.tree;
  const pid = pids.saved(task.pid);
  if (!task.captured.files) {
    const fdinfo = task.fds.map((file) => {
      const id = files.idOf(file);
      return { id, flags: task.fdFlags.get(file.fd) ?? 0, type: files.typeOf(id), fd: file.fd };
    });
    images.write(Images.fdinfo, ids.files, fdinfo);
  }
  images.write(Images.ids, pid, [idsEntry(ids)]);
  images.write(Images.mm, pid, [task.mm as InputOf<ReturnType<typeof Images.mm.message>>]);
  for (const thread of task.threads) {
    images.write(Images.core, pids.saved(thread.tid), [thread.core as InputOf<ReturnType<typeof Images.core.message>>]);
  }
  writeOwnState(images, task);
}

/**
 * Writes `ownState`, one file for each process, since there may be thousands of threads. State of threads is
 * stored under their TIDs, state of kinds under the names of the kinds.
 */
function writeOwnState(images: ImageSetWriter, { pid, ownState, threads, tree }: DumpTask): void {
  const whole: Record<string, Json> = { ...ownState };
  for (const thread of threads.slice(1)) {
    if (Object.keys(thread.ownState).length > 0) whole[String(tree.pids.saved(thread.tid))] = thread.ownState;
  }
  putOwnState(images, tree.pids.saved(pid), whole);
}

function putOwnState(images: ImageSetWriter, saved: number, state: Json): void {
  images.put(ownStateName(saved), encodeText(`${JSON.stringify(state)}\n`));
}

function writeZombie(pid: HostPid, { images, tree }: DumpContext): void {
  const { exitCode, comm, exitSignal } = parseStat(readProc(pid, 'stat'));
  const tc = { task_state: TaskState.DEAD, exit_code: exitCode, personality: 0, flags: 0, blk_sigset: 0, comm };
  images.write(Images.core, tree.pids.saved(pid), [{ mtype: thisArch().march, tc }]);
  // A child without SIGCHLD is seen by none of its parent's waits but those with __WALL or __WCLONE.
  if (exitSignal >= 0 && exitSignal !== SIG.CHLD)
    putOwnState(images, tree.pids.saved(pid), { process: { exitSignal } });
}

function treeEntry(
  { pid, parent, threads, zombie }: FrozenProcess,
  { pids }: SeenTree,
): InputOf<ReturnType<typeof Images.pstree.message>> {
  const { pgrp, session } = parseStat(readProc(pid, 'stat'));
  return {
    pid: pids.saved(pid),
    ppid: parent === NOBODY ? 0 : pids.saved(parent),
    pgid: pids.groupOf(pid, pgrp),
    sid: pids.sessionOf(pid, session),
    threads: (zombie ? [pid] : threads.map(({ tid }) => tid)).map((tid) => pids.saved(tid)),
  };
}
