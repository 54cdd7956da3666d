/**
 * Stops a process tree that may fork, execute programs, and start and end threads meanwhile.
 *
 * Every thread is seized and interrupted as soon as it is found; then all are waited for. A stopped thread makes no
 * children and no threads. So a walk over the tree finds everything made before, and the tree is complete when a walk
 * finds nothing new. A new thread is stopped at its next system call, fork included, so this ends soon even for
 * programs that do nothing but fork and exit.
 *
 * A parent in vfork(2) does not stop before its child has executed a program or ended, so the child has to run until
 * then.
 */

import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import { Part } from '../../../base/part.ts';
import { childrenOf, isUserWorker, type Member, NOBODY, threadsOf } from '../../../kernel/proc/tree.ts';
import { requireUninterrupted } from '../../../tracee/interruption.ts';
import { nap, PTRACE, pollStop, tryPtrace } from '../../../tracee/ptrace.ts';
import type { Tracee } from '../../../tracee/tracee.ts';
import { isProgram, stands } from '../../tracees.ts';
import { HighPriority } from './high-priority.ts';
import { type SeizedProcess, type SeizedThread, SeizedThreads } from './seized-threads.ts';
import type { Stall } from './stall.ts';

// Only for threads that do not stop.
const STALLS = new Part(() => require('./stall.ts') as typeof import('./stall.ts'));

/**
 * Milliseconds the tree is held while one of its threads waits in vfork, before all are released and the freeze starts
 * again.
 */
const FIRST_GRACE = 100;
/** Milliseconds without progress after which the reason is looked for. */
const STALLED = 1;
/** Nanoseconds between two checks of threads that have not stopped yet. */
const SHORTEST_NAP = 20_000;
const LONGEST_NAP = 1_000_000;
/**
 * How often the tree is looked at before the timeout counts. A machine that was suspended meanwhile, or busy with other
 * things, may have left neither the tasks nor Stasis any time.
 */
const FEWEST_LOOKS = 20;

export class Seizure implements Disposable {
  readonly #root: HostPid;
  readonly #held: SeizedThreads;
  readonly #seconds: number;
  readonly #deadline: number;
  /** The processes that the last walk found, in its order. */
  #tree: SeizedProcess[] = [];
  /** Children of vfork, which have to run: they are not seized until all others have stopped. */
  readonly #excused = new Set<number>();
  #highPriority: HighPriority | undefined;
  /** How often something has changed since it was looked at. */
  #changes = 0;

  /** `timeout`: seconds that everything may take. `onStop` is called for each thread that has just stopped. */
  constructor(root: HostPid, timeout: number, onStop: (tracee: Tracee) => void) {
    this.#root = root;
    this.#held = new SeizedThreads(onStop);
    this.#seconds = timeout;
    this.#deadline = performance.now() + timeout * 1000;
  }

  /** The processes of the stopped tree, parents before children. */
  get processes(): readonly SeizedProcess[] {
    return this.#tree;
  }

  /** Names threads of the kernel, which are left alone. */
  leaveAlone(workers: Iterable<HostPid>): void {
    this.#held.leaveAlone(workers);
  }

  /** Whether any thread is still attached. */
  get holdsAny(): boolean {
    return this.#held.holdsAny;
  }

  /** Seizes processes that may or may not belong to the tree; {@link stopAll} stops them with it. */
  seize(pids: readonly HostPid[]): void {
    for (const pid of pids) if (isProgram(pid)) this.#refresh(this.#held.processOf(pid));
  }

  /**
   * Stops the whole tree. `before` is called while nothing is stopped, and again after the tree had to run meanwhile.
   * It returns the members of the tree.
   * @throws StasisError if a task cannot be traced, or does not stop in time
   */
  stopAll(before: () => readonly Member[]): void {
    for (let grace = FIRST_GRACE; ; grace *= 2) {
      const members = before();
      this.#highPriority ??= new HighPriority();
      this.#seizeMembers(members);
      if (this.awaitStable(performance.now() + grace)) break;
      logDebug('a task waits in vfork: the tree goes on until its child has executed a program');
      this.#excused.clear();
      this.#tree = [];
      this.#held.releaseStanding();
      this.#await(this.#deadline);
    }
    if (this.#tree.length > 0) return;
    throw new StasisError({ kind: 'gone', task: { pid: this.#root }, reason: 'no such process' });
  }

  /**
   * Waits until all threads have stopped, also new ones. Returns false if a vfork prevents this until the time
   * `giveWay`.
   */
  awaitStable(giveWay = this.#deadline): boolean {
    for (;;) {
      this.#requireTime();
      if (!this.#await(giveWay)) return false;
      this.#excused.clear();
      if (!this.#walk() && this.#allStand()) return true;
      this.#changes++;
    }
  }

  /** Resumes stopped threads. */
  resume(threads: readonly SeizedThread[]): void {
    for (const thread of threads) {
      if (tryPtrace(PTRACE.CONT, thread.tid) === 0) this.#held.moving.add(thread);
    }
  }

  /** Interrupts the resumed threads. Processes and threads they have made meanwhile are left to {@link awaitStable}. */
  stopAgain(): void {
    for (const { tracee } of this.#held.moving) tracee.interrupt();
    this.#await(this.#deadline);
  }

  /** Seized processes that do not belong to the tree: they have left it, or never were in it. */
  get others(): SeizedProcess[] {
    const tree = new Set(this.#tree);
    return [...this.#held.known.values()].filter((process) => !tree.has(process) && process.threads.size > 0);
  }

  /** Releases processes that do not belong to the tree. */
  releaseOthers(): void {
    for (const process of this.others) this.#held.release(process);
  }

  /** Ends the watch for deaths: all are stopped, and nothing may be seized after this. */
  complete(): void {
    this.#held.endWatch();
    this.#highPriority?.[Symbol.dispose]();
    this.#highPriority = undefined;
  }

  /** Releases everything. */
  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
    this.complete();
  }

  // ------------------------------------------------------------------------------------------------- finding them

  /** Seizes the known members. The following walk finds what has changed meanwhile. */
  #seizeMembers(members: readonly Member[]): void {
    this.#tree = members.map(({ pid, parent, tids }) => {
      const process = this.#held.processOf(pid);
      process.parent = parent;
      if (tids.length > 1) this.#held.watchDeaths();
      for (const tid of tids) {
        if (!process.threads.has(tid) && !this.#held.isLeftAlone(tid)) this.#held.seizeThread(tid, process);
      }
      return process;
    });
  }

  /** Walks over the tree and seizes what is new. Returns whether anything has changed since the last walk. */
  #walk(): boolean {
    const seen = new Set<number>();
    const tree: SeizedProcess[] = [];
    let changed = false;
    const todo: [pid: HostPid, parent: HostPid][] = [[this.#root, NOBODY]];
    for (let next = todo.pop(); next; next = todo.pop()) {
      const [pid, parent] = next;
      if (seen.has(pid) || this.#excused.has(pid)) continue;
      seen.add(pid);
      const process = this.#held.processOf(pid);
      process.parent = parent;
      const { tids, news } = this.#refresh(process);
      if (news) changed = true;
      if (tids.length === 0) {
        // The kernel's list of children may omit one if another one ends meanwhile (get_children_pid() in
        // fs/proc/array.c).
        changed = true;
        this.#held.known.delete(pid);
        continue;
      }
      tree.push(process);
      // Depth first, with the first child next, so that new processes are followed immediately.
      for (const child of childrenOf(pid, tids).reverse()) todo.push([child, pid]);
    }
    changed ||= tree.length !== this.#tree.length || tree.some((process, i) => process !== this.#tree[i]);
    this.#tree = tree;
    return changed;
  }

  /**
   * Seizes new threads of a process and forgets those that have ended. Returns all its threads, and whether anything
   * changed.
   */
  #refresh(process: SeizedProcess): { tids: HostPid[]; news: boolean } {
    for (let news = false; ; news = true) {
      this.#requireTime();
      const tids = threadsOf(process.pid).filter((tid) => !this.#held.isLeftAlone(tid));
      if (tids.length > 1) this.#held.watchDeaths();
      const strange = tids.filter((tid) => !process.threads.has(tid));
      for (const tid of strange) {
        if (tid !== process.pid && isUserWorker(tid)) this.#held.leaveAlone([tid]);
        else this.#held.seizeThread(tid, process);
      }
      // A thread that clones and exits is chased immediately. Also, the kernel's list ends early at a thread that has
      // ended meanwhile (next_tid() in fs/proc/base.c), so there may be more threads.
      if (strange.length > 0 && (strange.length > 1 || strange[0] !== process.pid)) {
        this.#changes++;
        continue;
      }
      return { tids, news: this.#checkMissing(process, tids) || news || (strange.length > 0 && !process.dead) };
    }
  }

  /** Forgets dead threads among those that are not listed any more. Returns whether there were any. */
  #checkMissing(process: SeizedProcess, tids: readonly HostPid[]): boolean {
    if (process.threads.size <= tids.length - (process.dead ? 1 : 0)) return false;
    const there = new Set(tids);
    const missing = [...process.threads.values()].filter((thread) => !there.has(thread.tid));
    for (const thread of missing) if (!this.#held.moving.has(thread)) this.#held.take(thread, pollStop(thread.tid));
    return missing.length > 0;
  }

  // ------------------------------------------------------------------------------------------------ waiting for them

  /**
   * Waits until all threads have stopped or ended. Returns false if a vfork prevents this until the time `giveWay`.
   * @throws StasisError after the timeout
   */
  #await(giveWay: number): boolean {
    let pause = SHORTEST_NAP;
    let progress = performance.now();
    for (let looks = 1; ; looks++) {
      requireUninterrupted();
      const before = this.#held.moving.size;
      this.#held.poll();
      if (this.#held.moving.size === 0) return true;
      if (this.#held.moving.size < before) {
        progress = performance.now();
        pause = SHORTEST_NAP;
      } else if (performance.now() - progress > STALLED) {
        const stalls = this.#unblock();
        const isLate = performance.now() > this.#deadline && looks >= FEWEST_LOOKS;
        if (isLate && stalls.length > 0) throw STALLS.load().timeoutError(stalls, this.#seconds);
        if (performance.now() > giveWay && stalls.some(({ kind }) => kind === 'vfork')) return false;
        progress = performance.now();
      }
      nap(pause);
      pause = Math.min(2 * pause, LONGEST_NAP);
    }
  }

  /** Finds out why threads do not stop, and lets children of vfork run. Returns the reasons that remain. */
  #unblock(): Stall[] {
    const stalls: Stall[] = [];
    const moving = new Set([...this.#held.moving].map(({ process }) => process.pid));
    for (const thread of this.#held.moving) {
      const stall = STALLS.load().stallOf(thread.tid, thread.process.pid);
      // The kernel reports a dead main thread only after the last thread of its process is dead.
      if (stall.kind === 'dead' && thread.tid === thread.process.pid) this.#held.forget(thread);
      else stalls.push(stall);
      if (stall.kind === 'busy') this.#held.remind(thread);
      if (stall.kind !== 'vfork') continue;
      // A child that has not stopped yet is resumed as soon as it stops.
      for (const child of stall.children) if (!moving.has(child)) this.#excuse(child);
    }
    return stalls;
  }

  /** Lets a child run that its parent waits for in vfork. */
  #excuse(pid: HostPid): void {
    this.#excused.add(pid);
    const process = this.#held.known.get(pid);
    if (process) this.#held.release(process);
  }

  /**
   * Asks the kernel whether all threads are stopped and are still the same: a thread that executes a program gets the
   * TID of the main thread, which may have stopped before.
   */
  #allStand(): boolean {
    let all = true;
    for (const { threads } of this.#tree) {
      for (const thread of [...threads.values()]) {
        const stop = pollStop(thread.tid);
        if (stop === 'none' && stands(thread.tid)) continue;
        all = false;
        this.#held.moving.add(thread);
        if (stop === 'none') thread.tracee.interrupt();
        else this.#held.take(thread, stop);
      }
    }
    return all;
  }

  // ------------------------------------------------------------------------------------------------ letting them go

  #requireTime(): void {
    requireUninterrupted();
    if (performance.now() < this.#deadline || this.#changes < FEWEST_LOOKS) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'TREE_RESTLESS',
      task: { pid: this.#root },
      reason: `its tree goes on making tasks faster than they can be stopped, for ${this.#seconds} s`,
      remedy: 'give it longer with --timeout, or name a cgroup to freeze with --freeze-cgroup',
    });
  }
}
