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
import { childrenOf, isUserWorker, type Member, NOBODY, threadsOf, unlessGone } from '../../../kernel/proc/tree.ts';
import { DeathWatch } from '../../../tracee/death-watch.ts';
import { requireUninterrupted } from '../../../tracee/interruption.ts';
import { nap, PTRACE, pollStop, tryPtrace } from '../../../tracee/ptrace.ts';
import { Tracee } from '../../../tracee/tracee.ts';
import { buryIfOurs, isProgram, letGo, stands } from '../../tracees.ts';
import { HighPriority } from './high-priority.ts';
import { type Stall, stallOf, timeoutError } from './stall.ts';

/** A seized thread. */
export interface SeizedThread {
  readonly tid: HostPid;
  readonly process: SeizedProcess;
  readonly tracee: Tracee;
}

/** A process, as it was at the last walk. */
export interface SeizedProcess {
  readonly pid: HostPid;
  /** PID of the parent in the tree; 0 for the root. */
  parent: HostPid;
  /** The seized threads, by TID. */
  readonly threads: Map<number, SeizedThread>;
  /** Whether the main thread is dead. Without any threads the process is a zombie. */
  dead: boolean;
}

/**
 * Milliseconds the tree is held while one of its threads waits in vfork, before all are released and the freeze starts
 * again.
 */
const FIRST_GRACE = 100;
/** Milliseconds without progress after which the reason is looked for. */
const STALLED = 1;
/**
 * Milliseconds to wait for interrupted threads before all are released, since a thread can only be detached in a stop.
 */
const LAST_WAIT = 200;
/** Nanoseconds between two checks of threads that have not stopped yet. */
const SHORTEST_NAP = 20_000;
const LONGEST_NAP = 1_000_000;

export class Seizure implements Disposable {
  readonly #root: HostPid;
  readonly #onStop: (tracee: Tracee) => void;
  readonly #seconds: number;
  readonly #deadline: number;
  /** All processes with seized threads, and zombies. */
  readonly #known = new Map<number, SeizedProcess>();
  /** The processes that the last walk found, in its order. */
  #tree: SeizedProcess[] = [];
  /** Threads that have not been seen in a stop. */
  readonly #moving = new Set<SeizedThread>();
  /** Children of vfork, which have to run: they are not seized until all others have stopped. */
  readonly #excused = new Set<number>();
  /**
   * Threads of the kernel inside processes (io_uring), which run no code of the program. They are not stopped: what
   * they do for requests would end with EINTR (kiocb_done() in io_uring/rw.c).
   */
  readonly #workers = new Set<HostPid>();
  #watch: DeathWatch | undefined;
  #highPriority: HighPriority | undefined;

  /** `timeout`: seconds that everything may take. `onStop` is called for each thread that has just stopped. */
  constructor(root: HostPid, timeout: number, onStop: (tracee: Tracee) => void) {
    this.#root = root;
    this.#onStop = onStop;
    this.#seconds = timeout;
    this.#deadline = performance.now() + timeout * 1000;
  }

  /** The processes of the stopped tree, parents before children. */
  get processes(): readonly SeizedProcess[] {
    return this.#tree;
  }

  /** Names threads of the kernel, which are left alone. */
  leaveAlone(workers: Iterable<HostPid>): void {
    for (const tid of workers) this.#workers.add(tid);
  }

  /** Seizes processes that may or may not belong to the tree; {@link stopAll} stops them with it. */
  seize(pids: readonly HostPid[]): void {
    for (const pid of pids) if (isProgram(pid)) this.#refresh(this.#processOf(pid));
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
      this.#letAllGo();
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
    do {
      this.#requireTime();
      if (!this.#await(giveWay)) return false;
      this.#excused.clear();
    } while (this.#walk() || !this.#allStand());
    return true;
  }

  /** Resumes stopped threads. */
  resume(threads: readonly SeizedThread[]): void {
    for (const thread of threads) {
      if (tryPtrace(PTRACE.CONT, thread.tid) === 0) this.#moving.add(thread);
    }
  }

  /** Interrupts the resumed threads. Processes and threads they have made meanwhile are left to {@link awaitStable}. */
  stopAgain(): void {
    for (const { tracee } of this.#moving) tracee.interrupt();
    this.#await(this.#deadline);
  }

  /** Seized processes that do not belong to the tree: they have left it, or never were in it. */
  get others(): SeizedProcess[] {
    const tree = new Set(this.#tree);
    return [...this.#known.values()].filter((process) => !tree.has(process) && process.threads.size > 0);
  }

  /** Releases processes that do not belong to the tree. */
  releaseOthers(): void {
    for (const process of this.others) this.#release(process);
  }

  /** Whether any thread is still attached. */
  get holdsAny(): boolean {
    return [...this.#known.values()].some((process) => traceesOf(process).some(({ attached }) => attached));
  }

  /** Ends the watch for deaths: all are stopped, and nothing may be seized after this. */
  complete(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#highPriority?.[Symbol.dispose]();
    this.#highPriority = undefined;
  }

  /**
   * Releases everything. Threads that do not stop soon cannot be detached; the kernel detaches them when Stasis ends.
   */
  [Symbol.dispose](): void {
    for (
      const end = performance.now() + LAST_WAIT;
      this.#moving.size > 0 && performance.now() < end;
      nap(SHORTEST_NAP)
    ) {
      this.#poll();
    }
    this.complete();
    const tracees = [...this.#known.values()].flatMap(traceesOf);
    this.#known.clear();
    letGo(tracees);
  }

  // ------------------------------------------------------------------------------------------------- finding them

  #processOf(pid: HostPid): SeizedProcess {
    const known = this.#known.get(pid);
    if (known) return known;
    if (pid === process.pid) throw oneOfUs(pid);
    const found = { pid, parent: NOBODY, threads: new Map(), dead: false };
    this.#known.set(pid, found);
    return found;
  }

  /** Seizes the known members. The following walk finds what has changed meanwhile. */
  #seizeMembers(members: readonly Member[]): void {
    this.#tree = members.map(({ pid, parent, tids }) => {
      const process = this.#processOf(pid);
      process.parent = parent;
      if (tids.length > 1) this.#watch ??= new DeathWatch();
      for (const tid of tids) {
        if (!process.threads.has(tid) && !this.#isLeftAlone(tid)) this.#seizeThread(tid, process);
      }
      return process;
    });
  }

  /** Whether it is one of the kernel's threads. One may have ended, and a thread of the program may have its number. */
  #isLeftAlone(tid: HostPid): boolean {
    return this.#workers.has(tid) && isUserWorker(tid);
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
      const process = this.#processOf(pid);
      process.parent = parent;
      const { tids, news } = this.#refresh(process);
      if (news) changed = true;
      if (tids.length === 0) {
        // The kernel's list of children may omit one if another one ends meanwhile (get_children_pid() in
        // fs/proc/array.c).
        changed = true;
        this.#known.delete(pid);
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
      const tids = threadsOf(process.pid).filter((tid) => !this.#isLeftAlone(tid));
      if (tids.length > 1) this.#watch ??= new DeathWatch();
      const strange = tids.filter((tid) => !process.threads.has(tid));
      for (const tid of strange) {
        if (tid !== process.pid && isUserWorker(tid)) this.#workers.add(tid);
        else this.#seizeThread(tid, process);
      }
      // A thread that clones and exits is chased immediately. Also, the kernel's list ends early at a thread that has
      // ended meanwhile (next_tid() in fs/proc/base.c), so there may be more threads.
      if (strange.length > 0 && (strange.length > 1 || strange[0] !== process.pid)) continue;
      return { tids, news: this.#checkMissing(process, tids) || news || (strange.length > 0 && !process.dead) };
    }
  }

  /** Forgets dead threads among those that are not listed any more. Returns whether there were any. */
  #checkMissing(process: SeizedProcess, tids: readonly HostPid[]): boolean {
    if (process.threads.size <= tids.length - (process.dead ? 1 : 0)) return false;
    const there = new Set(tids);
    const missing = [...process.threads.values()].filter((thread) => !there.has(thread.tid));
    for (const thread of missing) if (!this.#moving.has(thread)) this.#take(thread, pollStop(thread.tid));
    return missing.length > 0;
  }

  #seizeThread(tid: HostPid, process: SeizedProcess): void {
    this.#watch?.add(tid);
    const tracee = unlessGone(() => Tracee.attachIfAlive(tid));
    if (tid === process.pid) process.dead = !tracee;
    if (!tracee) {
      buryIfOurs(tid);
      return;
    }
    tracee.interrupt();
    const thread = { tid, process, tracee };
    process.threads.set(tid, thread);
    this.#moving.add(thread);
  }

  #forget(thread: SeizedThread): void {
    const { tid, process, tracee } = thread;
    tracee.forget();
    this.#moving.delete(thread);
    process.threads.delete(tid);
    if (tid === process.pid) process.dead = true;
  }

  // ------------------------------------------------------------------------------------------------ waiting for them

  /**
   * Waits until all threads have stopped or ended. Returns false if a vfork prevents this until the time `giveWay`.
   * @throws StasisError after the timeout
   */
  #await(giveWay: number): boolean {
    let pause = SHORTEST_NAP;
    let progress = performance.now();
    for (;;) {
      requireUninterrupted();
      const before = this.#moving.size;
      this.#poll();
      if (this.#moving.size === 0) return true;
      if (this.#moving.size < before) {
        progress = performance.now();
        pause = SHORTEST_NAP;
      } else if (performance.now() - progress > STALLED) {
        const stalls = this.#unblock();
        if (performance.now() > this.#deadline && stalls.length > 0) throw timeoutError(stalls, this.#seconds);
        if (performance.now() > giveWay && stalls.some(({ kind }) => kind === 'vfork')) return false;
        progress = performance.now();
      }
      nap(pause);
      pause = Math.min(2 * pause, LONGEST_NAP);
    }
  }

  #poll(): void {
    for (const thread of this.#moving) this.#take(thread, pollStop(thread.tid));
  }

  /** Handles the result of polling a thread. */
  #take(thread: SeizedThread, stop: ReturnType<typeof pollStop>): void {
    if (stop === 'none') return;
    if (stop === 'lost' || stop.kind === 'exited' || stop.kind === 'killed') this.#forget(thread);
    else if (!thread.tracee.standsStill(stop)) this.#moving.add(thread);
    else {
      this.#moving.delete(thread);
      // If the thread is killed meanwhile, the next poll shows that.
      unlessGone(() => this.#onStop(thread.tracee));
    }
  }

  /** Finds out why threads do not stop, and lets children of vfork run. Returns the reasons that remain. */
  #unblock(): Stall[] {
    const stalls: Stall[] = [];
    const moving = new Set([...this.#moving].map(({ process }) => process.pid));
    for (const thread of this.#moving) {
      const stall = stallOf(thread.tid, thread.process.pid);
      // The kernel reports a dead main thread only after the last thread of its process is dead.
      if (stall.kind === 'dead' && thread.tid === thread.process.pid) this.#forget(thread);
      else stalls.push(stall);
      if (stall.kind === 'busy') this.#remind(thread);
      if (stall.kind !== 'vfork') continue;
      // A child that has not stopped yet is resumed as soon as it stops.
      for (const child of stall.children) if (!moving.has(child)) this.#excuse(child);
    }
    return stalls;
  }

  /**
   * Interrupts a thread again. Attaching to a thread that executes a program may block until it has done so; it then
   * has another TID than the one attached to, or is not our tracee at all. Or the thread has stopped, and that had been
   * seen before.
   */
  #remind(thread: SeizedThread): void {
    if (!stands(thread.tid)) {
      if (!thread.tracee.interrupt()) this.#forget(thread);
      return;
    }
    const stop = pollStop(thread.tid);
    if (stop === 'none') this.#moving.delete(thread);
    else this.#take(thread, stop);
  }

  /** Lets a child run that its parent waits for in vfork. */
  #excuse(pid: HostPid): void {
    this.#excused.add(pid);
    const process = this.#known.get(pid);
    if (process) this.#release(process);
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
        this.#moving.add(thread);
        if (stop === 'none') thread.tracee.interrupt();
        else this.#take(thread, stop);
      }
    }
    return all;
  }

  // ------------------------------------------------------------------------------------------------ letting them go

  #release(process: SeizedProcess): void {
    this.#known.delete(process.pid);
    letGo(traceesOf(process));
  }

  /** Resumes all stopped threads. */
  #letAllGo(): void {
    this.#excused.clear();
    this.#tree = [];
    const standing: SeizedThread[] = [];
    for (const process of [...this.#known.values()]) {
      for (const thread of process.threads.values()) if (!this.#moving.has(thread)) standing.push(thread);
    }
    for (const { tid, process } of standing) process.threads.delete(tid);
    for (const { pid, threads } of [...this.#known.values()]) if (threads.size === 0) this.#known.delete(pid);
    letGo(standing.map(({ tracee }) => tracee));
  }

  #requireTime(): void {
    requireUninterrupted();
    if (performance.now() < this.#deadline) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'TREE_RESTLESS',
      task: { pid: this.#root },
      reason: `its tree goes on making tasks faster than they can be stopped, for ${this.#seconds} s`,
      remedy: 'give it longer with --timeout, or name a cgroup to freeze with --freeze-cgroup',
    });
  }
}

function traceesOf({ threads }: SeizedProcess): Tracee[] {
  return [...threads.values()].map(({ tracee }) => tracee);
}

function oneOfUs(pid: HostPid): StasisError {
  return new StasisError({
    kind: 'usage',
    code: 'TREE_HAS_STASIS',
    task: { pid },
    reason: `Stasis itself (process ${process.pid}) is in this tree, and cannot freeze itself`,
    remedy: 'run it from another terminal or session, or name with -t a process that it does not come from',
  });
}
