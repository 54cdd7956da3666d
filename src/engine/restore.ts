/** The story of a restore. */
import { StasisError } from '../base/errors.ts';
import { logDebug, logInfo, logWarn } from '../base/log.ts';
import { encodeText } from '../base/text.ts';
import { UndoStack } from '../base/undo.ts';
import { ImageSet } from '../images/image-set.ts';
import { O } from '../kernel/constants/files.ts';
import { disk } from '../kernel/disk.ts';
import { syscall, trySyscall } from '../kernel/syscall.ts';
import type { CarryOptions, Phase, RestoreContext, RestoreTask } from '../kinds/contract.ts';
import { fileKinds, finalRegisters, remakeInterruptedCall, taskKinds } from '../kinds/registry.ts';
import { Batch } from '../tracee/batch.ts';
import { findGap } from '../tracee/gap.ts';
import { closeAll } from '../tracee/handover.ts';
import { AREA } from '../tracee/program.ts';
import { setSignalMask } from '../tracee/ptrace.ts';
import { Seed } from '../tracee/seed.ts';
import { placeDescriptors } from './descriptors.ts';
import { leaveSeed } from './leave.ts';
import { type Plan, readPlan, type TaskPlan } from './plan.ts';
import { ActionScripts } from './scripts.ts';
import { writeRestoreStats } from './stats.ts';

/** What to restore, from where, and how. */
export interface RestoreOptions {
  readonly imagesDir: string;
  readonly workDir: string;
  readonly pidfile: string | undefined;
  /** Make the root a child of our parent. */
  readonly sibling: boolean;
  readonly leaveStopped: boolean;
  readonly actionScripts: readonly string[];
  readonly carry: CarryOptions;
}

/** What came of it. */
export interface RestoreOutcome {
  readonly pid: number;
  /** Microseconds from the first process to the last step. */
  readonly duration: number;
}

/** The order of a task's rebuilding: see Phase. `files` ends with the descriptors in place. */
const BEFORE_FILES: readonly Phase[] = ['birth', 'memory', 'files'];
const AFTER_FILES: readonly Phase[] = ['state', 'creds', 'last'];

/**
 * Restores a process. All or nothing: until the last step it stands still, and dies with us or with any error.
 * @throws StasisError
 */
export function restore(options: RestoreOptions): RestoreOutcome {
  const images = new ImageSet(options.imagesDir, undefined, disk);
  const plan = readPlan(images);
  logDebug('images are read and checked');
  const scripts = new ActionScripts(options.actionScripts, options.imagesDir);
  scripts.require('pre-restore');
  const began = performance.now();
  using undo = new UndoStack();
  using ending = new UndoStack();
  const context = new Context(options.carry, images, plan, undo, ending);
  const seed = plant(plan.task, options);
  undo.add(() => seed[Symbol.dispose]());
  const forked = performance.now();
  logDebug('the seed is planted');
  const task = makeTask(plan.task, context, seed);
  rebuild(task);
  logInfo('the task is rebuilt');
  ending[Symbol.dispose]();
  if (options.pidfile !== undefined) writePidfile(options.pidfile, task.pid, undo);
  scripts.require('post-restore', task.pid);
  const duration = (performance.now() - began) * 1000;
  writeRestoreStats(options.workDir, { forking: (forked - began) * 1000, restore: duration, pages: plan.pages });
  resumeScript(scripts, 'pre-resume', task.pid);
  go(task, options);
  undo.keep();
  logInfo('the task runs');
  resumeScript(scripts, 'post-resume', task.pid);
  return { pid: task.pid, duration };
}

/** A seed with the right PID, its work area where the saved address space has room. */
function plant(task: TaskPlan, options: RestoreOptions): Seed {
  const taken = task.mm.vmas.map((vma) => ({ start: Number(vma.start), end: Number(vma.end) }));
  const area = findGap(
    taken.sort((a, b) => a.start - b.start),
    AREA.length,
  );
  const highest = task.fds.reduce((max, { fd }) => Math.max(max, fd), 2);
  return Seed.plant({ pid: task.tree.pid, sibling: options.sibling, highestFd: highest }, area);
}

function makeTask(plan: TaskPlan, context: RestoreContext, seed: Seed): RestoreTask {
  const pid = plan.tree.pid;
  const comm = plan.core.tc?.comm;
  return {
    pid,
    ref: { pid, comm },
    context,
    tree: plan.tree,
    core: plan.core,
    mm: plan.mm,
    fs: plan.fs,
    fds: plan.fds,
    extra: plan.extra,
    seed,
    batch: new Batch(seed.remote),
  };
}

function rebuild(task: RestoreTask): void {
  const run = (phases: readonly Phase[]): void => {
    for (const phase of phases) {
      for (const kind of taskKinds) kind.rebuild?.[phase]?.(task);
      logDebug(`phase ${phase}`);
    }
  };
  // Descriptors of ours that the seed was born with are not the task's.
  closeAll(task.seed, task.batch);
  run(BEFORE_FILES);
  placeDescriptors(task);
  task.batch.call('close', task.seed.socketTarget);
  run(AFTER_FILES);
  task.batch.flush();
}

/** The last step: nothing of ours is left in the task, and it runs. Past this point there is no way back. */
function go(task: RestoreTask, options: RestoreOptions): void {
  const { tracee } = task.seed;
  const call = remakeInterruptedCall(task);
  leaveSeed(task);
  setSignalMask(task.pid, task.core.thread_core?.blk_sigset ?? task.core.tc?.blk_sigset ?? 0n);
  tracee.setRegisters(finalRegisters(task, call));
  const stop = options.leaveStopped ? 19 : task.core.tc?.task_state === 6 ? (task.core.tc.stop_signo ?? 19) : 0;
  if (stop !== 0) syscall('kill', task.pid, stop);
  tracee.setFree();
}

function resumeScript(scripts: ActionScripts, point: 'pre-resume' | 'post-resume', pid: number): void {
  const code = scripts.run(point, pid);
  if (code !== 0) logWarn('restore.ts', `${point} script ended with exit code ${code}`);
}

function writePidfile(path: string, pid: number, undo: UndoStack): void {
  try {
    const fd = disk.open(path, O.WRONLY | O.CREAT | O.EXCL, 0o666);
    disk.write(fd, encodeText(String(pid)));
    disk.close(fd);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new StasisError({
      kind: 'io',
      resource: path,
      reason: `the pidfile cannot be written: ${code}`,
      cause: error,
    });
  }
  undo.add(() => disk.unlink(path));
}

/** The restore as a whole, as kinds see it. */
class Context implements RestoreContext {
  readonly options: CarryOptions;
  readonly images: ImageSet;
  readonly files: Plan['files'];
  /** Descriptors made so far, by file id and, where they are to be mapped, flags. */
  readonly #open = new Map<string, number>();
  readonly #shared = new Map<string, unknown>();
  readonly #undo: UndoStack;
  readonly #ending: UndoStack;

  constructor(options: CarryOptions, images: ImageSet, plan: Plan, undo: UndoStack, ending: UndoStack) {
    this.options = options;
    this.images = images;
    this.files = plan.files;
    this.#undo = undo;
    this.#ending = ending;
    ending.add(() => {
      for (const fd of this.#open.values()) trySyscall('close', fd);
    });
  }

  open(fileId: number, flags?: number): number {
    const key = flags === undefined ? `${fileId}` : `${fileId}/${flags}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const entry = this.files.get(fileId);
    const kind = entry && fileKinds.find((candidate) => candidate.type === entry.type);
    if (!entry || !kind) throw new StasisError({ kind: 'internal', reason: `file ${fileId} was not planned for` });
    const local = kind.rebuild(entry, this, flags);
    this.#open.set(key, local);
    return local;
  }

  shared<T>(name: string, make: () => T): T {
    if (!this.#shared.has(name)) this.#shared.set(name, make());
    return this.#shared.get(name) as T;
  }

  undo(work: () => void): void {
    this.#undo.add(work);
  }

  atEnd(work: () => void): void {
    this.#ending.add(work);
  }
}
