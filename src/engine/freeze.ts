/** Freezing a tree: every thread of every process stands still, or all go on. */
import { StasisError } from '../base/errors.ts';
import { threadsBelow } from '../kernel/proc/tree.ts';
import type { Sleep } from '../kinds/contract.ts';
import { settleCriticalSection } from '../kinds/registry.ts';
import type { Tracee } from '../tracee/tracee.ts';
import { type SeizedProcess, type SeizedThread, Seizure } from './seizure.ts';
import { Sleeps } from './sleeps.ts';

/** A thread that stands still. */
export interface FrozenThread {
  readonly tid: number;
  readonly tracee: Tracee;
  /** When the tree stood still, on performance.now()'s clock. */
  readonly frozenAt: number;
  readonly sleep: Sleep | undefined;
}

/** A process that stands still. */
export interface FrozenProcess {
  readonly pid: number;
  /** PID of its parent in the tree; 0 for the root. */
  readonly parent: number;
  /** The main thread first, then in ascending order; none of a zombie. */
  readonly threads: readonly FrozenThread[];
  readonly zombie: boolean;
}

/** How a tree is to be frozen. */
export interface FreezeOptions {
  /** Seconds it may take. */
  readonly timeout: number;
  /** The directory of a cgroup that is frozen while the tree is seized. */
  readonly freezeCgroup: string | undefined;
}

/** A tree that stands still, until its scope ends. */
export class FrozenTree implements Disposable {
  /** Parents before their children. */
  readonly processes: readonly FrozenProcess[];
  readonly #seizure: Seizure;

  private constructor(processes: readonly FrozenProcess[], seizure: Seizure) {
    this.processes = processes;
    this.#seizure = seizure;
  }

  /**
   * Freezes a process and all below it, with all threads.
   * @throws StasisError when that cannot be done, or not in time; all go on then
   */
  static freeze(root: number, options: FreezeOptions): FrozenTree {
    const seizure = new Seizure(root, options.timeout);
    try {
      let seen = new Sleeps([]);
      seizure.stopAll(() => {
        seen = new Sleeps(threadsBelow(root));
      });
      requireLiving(seizure.processes);
      const threads = seizure.processes.flatMap((process) => [...process.threads.values()]);
      const { frozenAt, sleeps } = seen.recall(threads, seizure);
      // What goes on for a moment may have ended.
      requireLiving(seizure.processes);
      seizure.endWatch();
      seizure.releaseOthers();
      const processes = seizure.processes.map((process) => frozenProcess(process, frozenAt, sleeps));
      for (const { threads } of processes) for (const { tracee } of threads) settleCriticalSection(tracee);
      return new FrozenTree(processes, seizure);
    } catch (error) {
      seizure[Symbol.dispose]();
      throw error;
    }
  }

  /** Lets every thread go on. */
  [Symbol.dispose](): void {
    this.#seizure[Symbol.dispose]();
  }
}

function frozenProcess(process: SeizedProcess, frozenAt: number, sleeps: ReadonlyMap<number, Sleep>): FrozenProcess {
  const { pid, parent } = process;
  const threads = inOrder(process).map(({ tid, tracee }) => ({ tid, tracee, frozenAt, sleep: sleeps.get(tid) }));
  return { pid, parent, threads, zombie: threads.length === 0 };
}

/** A stop is the whole process's; a thread that stood before the others shows none. */
function inOrder({ pid, threads }: SeizedProcess): SeizedThread[] {
  const all = [...threads.values()].sort((a, b) => rank(a, pid) - rank(b, pid));
  const groupStop = all.find(({ tracee }) => tracee.groupStop !== undefined)?.tracee.groupStop;
  for (const { tracee } of all) tracee.groupStop = groupStop;
  return all;
}

/** The main thread comes first, whatever its id. */
function rank({ tid }: SeizedThread, pid: number): number {
  return tid === pid ? 0 : tid;
}

/** @throws StasisError for what a tree must not have in it: a dead root, a dead main thread */
function requireLiving(processes: readonly SeizedProcess[]): void {
  const [root] = processes;
  if (root && root.threads.size === 0) {
    throw new StasisError({
      kind: 'unsupported',
      task: { pid: root.pid },
      reason: 'it is a zombie or a kernel thread',
    });
  }
  const headless = processes.find(({ dead, threads }) => dead && threads.size > 0);
  if (!headless) return;
  throw new StasisError({
    kind: 'unsupported',
    task: { pid: headless.pid },
    resource: `thread ${[...headless.threads.keys()][0]}`,
    reason: 'the main thread has ended and others go on, which is not carried yet',
  });
}
