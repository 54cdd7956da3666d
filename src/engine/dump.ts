/** The story of a dump. */
import { ObstacleError, StasisError } from '../base/errors.ts';
import { logDebug, logInfo } from '../base/log.ts';
import { UndoStack } from '../base/undo.ts';
import { type Entry, writeEntries } from '../images/image.ts';
import { ImageSetWriter } from '../images/image-set.ts';
import { type ImageKind, imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import type { InputOf, Message } from '../images/message.ts';
import { disk } from '../kernel/disk.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { trySyscall } from '../kernel/syscall.ts';
import type { CarryOptions, CoreDraft, DumpContext, DumpTask, Json, SeenTask } from '../kinds/contract.ts';
import { settleCriticalSection, taskKinds } from '../kinds/registry.ts';
import { Foothold } from '../tracee/foothold.ts';
import { getSignalMask, PTRACE, ptrace } from '../tracee/ptrace.ts';
import { Tracee } from '../tracee/tracee.ts';
import { OpenFileTable } from './file-table.ts';
import { commit, objectIds, ROOT_CG_SET, writeGlobals } from './inventory.ts';
import { Observation } from './observe.ts';
import { Pages } from './pages.ts';
import { obstaclesOf } from './preflight.ts';
import { ActionScripts } from './scripts.ts';
import { observeSleep } from './sleep.ts';
import { DumpClock, type DumpFigures } from './stats.ts';

/** What to dump, where to, and what becomes of it. */
export interface DumpOptions {
  readonly pid: number;
  readonly imagesDir: string;
  readonly workDir: string;
  readonly finalState: 'dead' | 'running' | 'stopped';
  /** Seconds the freeze may take. */
  readonly timeout: number;
  readonly actionScripts: readonly string[];
  readonly carry: CarryOptions;
}

/** What came of it. */
export interface DumpOutcome {
  /** 0, or what the post-dump script ended with: the tasks go on then. */
  readonly exitCode: number;
  readonly figures: DumpFigures;
}

/**
 * Dumps a process. It completes, or the process goes on as if nothing had been.
 * @throws StasisError; ObstacleError when the preflight finds what cannot be carried, before anything is touched
 */
export function dump(options: DumpOptions): DumpOutcome {
  const scripts = new ActionScripts(options.actionScripts, options.imagesDir);
  preflight(options.pid, options.carry);
  logDebug('preflight: nothing in the way');
  scripts.require('pre-dump', options.pid);
  const lookAgain = observeSleep(options.pid, parseStat(readProc(options.pid, 'stat')).processor);
  using images = new ImageSetWriter(options.imagesDir, disk);
  const clock = new DumpClock();
  using tracee = freeze(options);
  const sleep = lookAgain((look) => letGo(tracee, options, look));
  const frozen = { tracee, frozenAt: performance.now(), sleep };
  // Undone before the task goes on: it must not see what was made for its images.
  using undo = new UndoStack();
  clock.frozen();
  logInfo(`task ${options.pid} is frozen`);
  const pages = saveTask(frozen, options, images, undo);
  clock.counted(pages);
  clock.write(options.workDir);
  commit(images);
  const exitCode = scripts.run('post-dump', options.pid);
  finish(tracee, exitCode === 0 ? options.finalState : 'running', undo);
  clock.thawed();
  return { exitCode, figures: clock.figures };
}

/** Looks for everything that cannot be carried. @throws ObstacleError naming all of it */
export function preflight(pid: number, carry: CarryOptions): void {
  using seen = new Observation(pid, carry);
  requireCarriable(seen);
}

function requireCarriable(seen: SeenTask): void {
  const found = obstaclesOf(seen);
  if (found.length === 0) return;
  const what = found.length === 1 ? 'something' : `${found.length} things`;
  throw new ObstacleError(`task ${seen.pid} (${seen.stat.comm}) has ${what} that cannot be saved`, found);
}

function freeze(options: DumpOptions): Tracee {
  const tracee = Tracee.attach(options.pid, 0);
  try {
    stop(tracee, options);
    return tracee;
  } catch (error) {
    tracee.detach();
    throw error;
  }
}

function stop(tracee: Tracee, options: DumpOptions): void {
  tracee.stop(options.timeout * 1000);
  settleCriticalSection(tracee);
}

/** Lets a task go on while something is looked at; the freeze begins anew after that. */
function letGo(tracee: Tracee, options: DumpOptions, look: () => void): void {
  if (tracee.groupStop !== undefined) return;
  ptrace(PTRACE.CONT, tracee.pid);
  try {
    look();
  } finally {
    stop(tracee, options);
  }
}

/** A task that stands still. */
type Frozen = Pick<DumpTask, 'tracee' | 'sleep' | 'frozenAt'>;

/** Everything about one frozen task, into its images. */
function saveTask(frozen: Frozen, options: DumpOptions, images: ImageSetWriter, undo: UndoStack): Pages {
  using seen = new Observation(options.pid, options.carry);
  // The task may have changed between the preflight and the freeze.
  requireCarriable(seen);
  const pages = new Pages(images);
  const files = new OpenFileTable();
  const shared = new SharedImages();
  const context = makeContext(options.carry, images, files, pages, shared, undo);
  files.attach(context);
  const task = makeTask(seen, frozen, context);
  logDebug('observed');
  askTask(task, seen);
  logDebug('asked; nothing of Stasis is left in the task');
  for (const kind of taskKinds) kind.drain?.(task);
  logDebug(`memory is stored: ${pages.counts.written} pages`);
  writeTask(task, images, files);
  shared.write(images);
  writeGlobals(images);
  return pages;
}

/** Has the task tell what only it knows; afterwards nothing of us is left in it. */
function askTask(task: MutableDumpTask, seen: Observation): void {
  using foothold = Foothold.gain(task.tracee, seen.status.tgid, seen.vmas);
  task.bell = { signal: foothold.bellSignal, actionAt: foothold.bellActionAt };
  const program = foothold.remote.program();
  logDebug('foothold gained');
  const readers = taskKinds.map((kind) => kind.capture?.(task, program));
  logDebug(`asking: ${program.calls} remote calls`);
  foothold.remote.run(program);
  for (const read of readers) read?.();
}

/** DumpTask, while the engine still fills it in. */
type MutableDumpTask = { -readonly [K in keyof DumpTask]: DumpTask[K] };

function makeTask(seen: Observation, frozen: Frozen, context: DumpContext): MutableDumpTask {
  const { tracee } = frozen;
  const mask = getSignalMask(tracee.pid);
  const core: CoreDraft = {
    mtype: 0,
    tc: {
      task_state: tracee.groupStop === undefined ? 1 : 6,
      exit_code: 0,
      personality: 0,
      flags: seen.stat.flags,
      blk_sigset: mask,
      comm: seen.stat.comm,
      sigactions: [],
      ...(tracee.groupStop === undefined ? {} : { stop_signo: tracee.groupStop }),
    },
    thread_core: {
      futex_rla: 0,
      futex_rla_len: 0,
      blk_sigset: mask,
      comm: seen.stat.comm,
      cg_set: ROOT_CG_SET,
    },
  };
  return {
    pid: seen.pid,
    ref: seen.ref,
    stat: seen.stat,
    status: seen.status,
    vmas: seen.vmas,
    fds: seen.fds,
    options: seen.options,
    context,
    ...frozen,
    registers: tracee.getRegisters(),
    core,
    mm: { vmas: [], aios: [] },
    extra: {},
    bell: { signal: 0, actionAt: 0 },
  };
}

/** Files id of the task: ours is 1. */
const TASK_OBJECT = 2;

function writeTask(task: DumpTask, images: ImageSetWriter, files: OpenFileTable): void {
  const { pid, stat, core } = task;
  const ids = objectIds(TASK_OBJECT);
  const fdinfo = task.fds.map((file) => {
    const id = files.idOf(file);
    return { id, flags: file.cloexec ? 1 : 0, type: files.typeOf(id), fd: file.fd };
  });
  images.write(Images.fdinfo, TASK_OBJECT, fdinfo);
  images.write(Images.files, undefined, files.entries);
  images.write(Images.ids, pid, [ids]);
  images.write(Images.mm, pid, [task.mm as InputOf<ReturnType<typeof Images.mm.message>>]);
  images.write(Images.core, pid, [core as InputOf<ReturnType<typeof Images.core.message>>]);
  images.write(Images.pstree, undefined, [{ pid, ppid: 0, pgid: stat.pgrp, sid: stat.session, threads: [pid] }]);
  writeExtra(images, pid, task.extra);
}

/** State CRIU's schema has no place for. CRIU's tools read only what ends in .img. */
export function extraName(pid: number): string {
  return `stasis-task-${pid}.json`;
}

function writeExtra(images: ImageSetWriter, pid: number, extra: Record<string, Json>): void {
  images.put(extraName(pid), new Uint8Array(Buffer.from(`${JSON.stringify(extra)}\n`)));
}

/** Images that all tasks append to; written in one go. */
class SharedImages {
  readonly #entries = new Map<ImageKind<Message, unknown>, Entry<unknown, unknown>[]>();

  append<M extends Message, E>(image: ImageKind<M, E>, message: InputOf<M>, extra?: E): void {
    const kind = image as ImageKind<Message, unknown>;
    const list = this.#entries.get(kind) ?? [];
    list.push(extra === undefined ? { message } : { message, extra });
    this.#entries.set(kind, list);
  }

  write(images: ImageSetWriter): void {
    for (const [kind, entries] of this.#entries) {
      const name = imageName(kind);
      images.put(name, writeEntries(kind, entries as Entry<InputOf<Message>, unknown>[], name));
    }
  }
}

function makeContext(
  options: CarryOptions,
  images: ImageSetWriter,
  files: OpenFileTable,
  pages: Pages,
  shared: SharedImages,
  undo: UndoStack,
): DumpContext {
  const made = new Map<string, unknown>();
  return {
    options,
    images,
    files,
    pages,
    newFileId: () => files.newId(),
    shared<T>(name: string, make: () => T): T {
      if (!made.has(name)) made.set(name, make());
      return made.get(name) as T;
    },
    addFile: (entry) => void files.entries.push(entry),
    append: (image, message, extra) => shared.append(image, message, extra),
    undo: (work) => undo.add(work),
  };
}

/** The last step: the task ends, goes on, or stays stopped. What was done for the images is undone if it goes on. */
function finish(tracee: Tracee, finalState: DumpOptions['finalState'], undo: UndoStack): void {
  if (finalState === 'dead') {
    undo.keep();
    trySyscall('kill', tracee.pid, 9);
    tracee.awaitEnd();
    logInfo(`task ${tracee.pid} is saved and has ended`);
    return;
  }
  undo[Symbol.dispose]();
  if (finalState === 'stopped') trySyscall('kill', tracee.pid, 19);
  tracee.detach();
}

/** @throws StasisError when no task was named */
export function requirePid(pid: number | undefined): number {
  if (pid !== undefined) return pid;
  throw new StasisError({ kind: 'usage', reason: 'which process is missing', remedy: 'name it with -t PID' });
}
