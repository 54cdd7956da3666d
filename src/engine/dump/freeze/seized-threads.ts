/** The processes and threads that are seized: those that stand, and those that are still on their way to a stop. */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { isUserWorker, NOBODY, unlessGone } from '../../../kernel/proc/tree.ts';
import { DeathWatch } from '../../../tracee/death-watch.ts';
import { nap, pollStop } from '../../../tracee/ptrace.ts';
import { Tracee } from '../../../tracee/tracee.ts';
import { buryIfOurs, letGo, stands } from '../../tracees.ts';

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
 * Milliseconds to wait for interrupted threads before all are released, since a thread can only be detached in a stop.
 */
const LAST_WAIT = 200;
/** Nanoseconds between two looks at them. */
const SHORT_NAP = 20_000;

/** Seizes threads one by one, sees them stop or end, and lets them go. Which threads these are is decided above. */
export class SeizedThreads implements Disposable {
  readonly #onStop: (tracee: Tracee) => void;
  /** All processes with seized threads, and zombies. */
  readonly known = new Map<number, SeizedProcess>();
  /** Threads that have not been seen in a stop. */
  readonly moving = new Set<SeizedThread>();
  /**
   * Threads of the kernel inside processes (io_uring), which run no code of the program. They are not stopped: what
   * they do for requests would end with EINTR (kiocb_done() in io_uring/rw.c).
   */
  readonly #workers = new Set<HostPid>();
  #watch: DeathWatch | undefined;

  /** `onStop` is called for each thread that has just stopped. */
  constructor(onStop: (tracee: Tracee) => void) {
    this.#onStop = onStop;
  }

  /** Names threads of the kernel, which are left alone. */
  leaveAlone(workers: Iterable<HostPid>): void {
    for (const tid of workers) this.#workers.add(tid);
  }

  /** From now on deaths of threads are told: where there are several, the main one may die unseen. */
  watchDeaths(): void {
    this.#watch ??= new DeathWatch();
  }

  /** Ends the watch for deaths. */
  endWatch(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  /** The process of a PID, added if it is new. */
  processOf(pid: HostPid): SeizedProcess {
    const known = this.known.get(pid);
    if (known) return known;
    if (pid === process.pid) throw oneOfUs(pid);
    const found = { pid, parent: NOBODY, threads: new Map(), dead: false };
    this.known.set(pid, found);
    return found;
  }

  /** Whether it is one of the kernel's threads. One may have ended, and a thread of the program may have its number. */
  isLeftAlone(tid: HostPid): boolean {
    return this.#workers.has(tid) && isUserWorker(tid);
  }

  /** Seizes a thread and interrupts it. If it has ended, that is noted. */
  seizeThread(tid: HostPid, process: SeizedProcess): void {
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
    this.moving.add(thread);
  }

  /** Drops a thread that has ended. */
  forget(thread: SeizedThread): void {
    const { tid, process, tracee } = thread;
    tracee.forget();
    this.moving.delete(thread);
    process.threads.delete(tid);
    if (tid === process.pid) process.dead = true;
  }

  /** Looks which of the moving threads have stopped or ended. */
  poll(): void {
    for (const thread of this.moving) this.take(thread, pollStop(thread.tid));
  }

  /** Handles the result of polling a thread. */
  take(thread: SeizedThread, stop: ReturnType<typeof pollStop>): void {
    if (stop === 'none') return;
    if (stop === 'lost' || stop.kind === 'exited' || stop.kind === 'killed') this.forget(thread);
    else if (!thread.tracee.standsStill(stop)) this.moving.add(thread);
    else {
      this.moving.delete(thread);
      // If the thread is killed meanwhile, the next poll shows that.
      unlessGone(() => this.#onStop(thread.tracee));
    }
  }

  /**
   * Interrupts a thread again. Attaching to a thread that executes a program may block until it has done so; it then
   * has another TID than the one attached to, or is not our tracee at all. Or the thread has stopped, and that had been
   * seen before.
   */
  remind(thread: SeizedThread): void {
    if (!stands(thread.tid)) {
      if (!thread.tracee.interrupt()) this.forget(thread);
      return;
    }
    const stop = pollStop(thread.tid);
    if (stop === 'none') this.moving.delete(thread);
    else this.take(thread, stop);
  }

  /** Lets a process go. */
  release(process: SeizedProcess): void {
    this.known.delete(process.pid);
    letGo(traceesOf(process));
  }

  /** Lets all stopped threads go. */
  releaseStanding(): void {
    const standing: SeizedThread[] = [];
    for (const process of [...this.known.values()]) {
      for (const thread of process.threads.values()) if (!this.moving.has(thread)) standing.push(thread);
    }
    for (const { tid, process } of standing) process.threads.delete(tid);
    for (const { pid, threads } of [...this.known.values()]) if (threads.size === 0) this.known.delete(pid);
    letGo(standing.map(({ tracee }) => tracee));
  }

  /** Whether any thread is still attached. */
  get holdsAny(): boolean {
    return [...this.known.values()].some((process) => traceesOf(process).some(({ attached }) => attached));
  }

  /**
   * Releases everything. Threads that do not stop soon cannot be detached; the kernel detaches them when Stasis ends.
   */
  [Symbol.dispose](): void {
    for (const end = performance.now() + LAST_WAIT; this.moving.size > 0 && performance.now() < end; nap(SHORT_NAP)) {
      this.poll();
    }
    this.endWatch();
    const tracees = [...this.known.values()].flatMap(traceesOf);
    this.known.clear();
    letGo(tracees);
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
