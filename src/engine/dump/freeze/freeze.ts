/** Freezes a tree: either every thread of every process is stopped, or all continue. */

import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logWarn } from '../../../base/log.ts';
import { Part } from '../../../base/part.ts';
import type { Sleep } from '../../../contract/contract.ts';
import { membersOf } from '../../../kernel/proc/tree.ts';
import type { Tracee } from '../../../tracee/tracee.ts';
import { awaitStopped, onStopped } from '../../stops.ts';
import type { FreezerCgroup } from './freezer-cgroup.ts';
import type { SeizedProcess, SeizedThread } from './seized-threads.ts';
import { Seizure } from './seizure.ts';
import { Sleeps } from './sleeps.ts';

/** A frozen thread. */
export interface FrozenThread {
  readonly tid: HostPid;
  readonly tracee: Tracee;
  /** When the tree was frozen, in milliseconds of performance.now(). */
  readonly frozenAt: number;
  readonly sleep: Sleep | undefined;
}

/** A frozen process. */
export interface FrozenProcess {
  readonly pid: HostPid;
  /** PID of its parent in the tree; 0 for the root. */
  readonly parent: HostPid;
  /** The main thread first, then the others in ascending order of TID; empty for a zombie. */
  readonly threads: readonly FrozenThread[];
  readonly zombie: boolean;
}

/** Options of the freeze. */
export interface FreezeOptions {
  /** How many seconds the freeze may take. */
  readonly timeout: number;
  /** The directory of a cgroup that is frozen while the tree is being seized. */
  readonly freezeCgroup: string | undefined;
}

// Only for --freeze-cgroup.
const FREEZERS = new Part(() => require('./freezer-cgroup.ts') as typeof import('./freezer-cgroup.ts'));

/** A tree that is frozen until the scope ends. */
export class FrozenTree implements Disposable {
  /** Parents before their children. */
  readonly processes: readonly FrozenProcess[];
  readonly #seizure: Seizure;
  readonly #cgroup: FreezerCgroup | undefined;

  private constructor(processes: readonly FrozenProcess[], seizure: Seizure, cgroup: FreezerCgroup | undefined) {
    this.processes = processes;
    this.#seizure = seizure;
    this.#cgroup = cgroup;
  }

  /**
   * Freezes a process and all its descendants, with all threads.
   * @throws StasisError if that cannot be done, or not in time; all continue then
   */
  static freeze(root: HostPid, options: FreezeOptions): FrozenTree {
    const cgroup = freezerOf(options.freezeCgroup);
    const seizure = new Seizure(root, options.timeout, onStopped);
    try {
      return new FrozenTree(stopAll(root, seizure, cgroup), seizure, cgroup);
    } catch (error) {
      letGo(seizure, cgroup);
      throw error;
    }
  }

  /** Lets every thread continue. */
  [Symbol.dispose](): void {
    const stopped = this.processes.filter(({ threads }) => threads[0]?.tracee.groupStop !== undefined);
    for (const { threads } of stopped) for (const { tracee } of threads) tracee.detach();
    awaitStopped(stopped.map(({ pid }) => pid));
    letGo(this.#seizure, this.#cgroup);
  }
}

function freezerOf(path: string | undefined): FreezerCgroup | undefined {
  return path === undefined ? undefined : new (FREEZERS.load().FreezerCgroup)(path);
}

function stopAll(root: HostPid, seizure: Seizure, cgroup: FreezerCgroup | undefined): FrozenProcess[] {
  let seen: Sleeps | undefined;
  seizure.stopAll(() => {
    const members = membersOf(root);
    seen = new Sleeps(members);
    seizure.leaveAlone(seen.workers);
    if (cgroup) seizeFrozen(seizure, cgroup);
    return members;
  });
  requireLiving(seizure.processes);
  const threads = seizure.processes.flatMap((process) => [...process.threads.values()]);
  const recalled = seen?.recall(threads, seizure);
  // Threads that had to run for a moment may have ended.
  requireLiving(seizure.processes);
  seizure.complete();
  // Other processes of the cgroup stay stopped as long as the tree: the user named the cgroup for that.
  if (cgroup)
    for (const { pid } of seizure.others) logWarn('freeze.ts', `task ${pid} of the cgroup is not in the tree`);
  else seizure.releaseOthers();
  const frozenAt = recalled?.frozenAt ?? performance.now();
  return seizure.processes.map((process) => frozenProcess(process, frozenAt, recalled?.sleeps));
}

/**
 * Seizes the processes of a cgroup while it is frozen, when none can be made or end. A cgroup stays frozen if Stasis
 * dies, so it is frozen as briefly as possible.
 */
function seizeFrozen(seizure: Seizure, cgroup: FreezerCgroup): void {
  cgroup.freeze();
  seizure.seize(cgroup.pids());
  cgroup.thaw();
}

/** Lets the tree continue. A cgroup that was frozen before the dump is frozen again before the first task runs. */
function letGo(seizure: Seizure, cgroup: FreezerCgroup | undefined): void {
  try {
    if (seizure.holdsAny) cgroup?.restore();
  } finally {
    seizure[Symbol.dispose]();
    cgroup?.[Symbol.dispose]();
  }
}

function frozenProcess(
  process: SeizedProcess,
  frozenAt: number,
  sleeps: ReadonlyMap<number, Sleep> | undefined,
): FrozenProcess {
  const { pid, parent } = process;
  const threads = inOrder(process).map(({ tid, tracee }) => ({ tid, tracee, frozenAt, sleep: sleeps?.get(tid) }));
  return { pid, parent, threads, zombie: threads.length === 0 };
}

/**
 * Sorts the threads. A group stop belongs to the whole process, but a thread that was stopped before the others does
 * not show it.
 */
function inOrder({ pid, threads }: SeizedProcess): SeizedThread[] {
  const all = [...threads.values()].sort((a, b) => rank(a, pid) - rank(b, pid));
  const groupStop = all.find(({ tracee }) => tracee.groupStop !== undefined)?.tracee.groupStop;
  for (const { tracee } of all) tracee.groupStop = groupStop;
  return all;
}

/** Sort key of a thread: the main thread comes first, whatever its TID. */
function rank({ tid }: SeizedThread, pid: HostPid): number {
  return tid === pid ? 0 : tid;
}

/** @throws StasisError if the root or the main thread of a process is dead */
function requireLiving(processes: readonly SeizedProcess[]): void {
  const [root] = processes;
  if (root && root.threads.size === 0) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'TASK_DEAD',
      task: { pid: root.pid },
      reason: 'it is a zombie or a kernel thread',
    });
  }
  const headless = processes.find(({ dead, threads }) => dead && threads.size > 0);
  if (!headless) return;
  throw new StasisError({
    kind: 'unsupported',
    code: 'MAIN_THREAD_DEAD',
    task: { pid: headless.pid },
    resource: `thread ${[...headless.threads.keys()][0]}`,
    reason: 'the main thread has ended and others go on, which is not carried yet',
  });
}
