/**
 * Asks frozen processes and their threads what only they themselves can find out: a program in each that all kinds have
 * added their calls to.
 *
 * Several processes are on their way in, run their programs and are on their way out at the same time. While the
 * scheduler takes a processor to one of them, Stasis prepares the next.
 */
import type { TaskFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
import { UndoStack } from '../../base/undo.ts';
import type { DumpTask, DumpThread } from '../../contract/contract.ts';
import { taskKinds } from '../../kinds/registry.ts';
import { Foothold } from '../../tracee/foothold.ts';
import { limitsToLift } from '../../tracee/headroom.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import type { Program } from '../../tracee/program.ts';
import { suspendSeccomp } from '../../tracee/seccomp.ts';
import type { Tracee } from '../../tracee/tracee.ts';
import type { Visit } from '../../tracee/visit.ts';
import { FdFlags } from './fd-flags.ts';
import type { LiveMemory } from './live.ts';
import type { TaskSnapshot } from './snapshot.ts';

// Only for tasks that have filters for their system calls.
const SECCOMP = new Part(
  () => require('../../tracee/seccomp-exit.ts') as typeof import('../../tracee/seccomp-exit.ts'),
);
const NO_THREADS: ReadonlySet<Tracee> = new Set();

/** A DumpTask that the engine still fills in. */
export type MutableDumpTask = { -readonly [K in keyof DumpTask]: DumpTask[K] } & {
  fdFlags: ReadonlyMap<TaskFd, number>;
};

/** The threads that seccomp would not let leave; for the time being, all of them may make all calls. */
function withoutExit(threads: readonly DumpThread[]): ReadonlySet<Tracee> {
  for (const { tid, status } of threads) if (status.seccomp) suspendSeccomp(tid);
  return SECCOMP.load().threadsWithoutExit(threads.map(({ tracee, status }) => ({ tracee, seccomp: status.seccomp })));
}

/** How many processes are entered at the same time. */
const LOT = 16;

/** Processes that can be entered at the same time: each has memory of its own. */
function lotsOf(questions: readonly Question[]): Question[][] {
  const lots: Question[][] = [];
  let memories = new Set<number>();
  for (const question of questions) {
    const lot = lots.at(-1);
    if (lot && lot.length < LOT && !memories.has(question.memory)) lot.push(question);
    else {
      lots.push([question]);
      memories = new Set();
    }
    memories.add(question.memory);
  }
  return lots;
}

/** Asks processes, and says how many have been. Afterwards nothing of Stasis is left in them. */
export function askAll(questions: readonly Question[], progress: (done: number) => void): void {
  let done = 0;
  for (const lot of lotsOf(questions)) {
    progress(done);
    askLot(lot);
    done += lot.length;
  }
}

function askLot(lot: readonly Question[]): void {
  using footholds = new UndoStack();
  for (const question of lot) question.enter(footholds);
  for (const question of lot) question.start();
  for (const question of lot) question.finish();
}

/** Captures what only a process and its threads themselves can find out. */
export class Question {
  /** Which memory it has. */
  readonly memory: number;
  readonly #task: MutableDumpTask;
  readonly #seen: TaskSnapshot;
  /** All threads that share its memory, those of other processes included. */
  readonly #akin: readonly DumpThread[];
  readonly #live: LiveMemory | undefined;
  #foothold: Foothold | undefined;
  #mayCopy = false;
  #end: () => void = () => {};

  constructor(
    task: MutableDumpTask,
    seen: TaskSnapshot,
    memory: number,
    akin: readonly DumpThread[],
    live: LiveMemory | undefined,
  ) {
    this.#task = task;
    this.#seen = seen;
    this.memory = memory;
    this.#akin = akin;
    this.#live = live;
  }

  /** Begins to enter the process, which it leaves at the latest when the stack is disposed of. */
  enter(footholds: UndoStack): void {
    requireUninterrupted();
    const task = this.#task;
    const others = this.#akin.map(({ tracee }) => tracee).filter((tracee) => tracee !== task.tracee);
    const exitless = task.threads.some(({ status }) => status.seccomp) ? withoutExit(task.threads) : NO_THREADS;
    const lift = limitsToLift(this.#seen);
    this.#mayCopy = exitless.size === 0 && lift.length === 0;
    const company = { others, exitless, lift, caught: task.status.sigCgt };
    const foothold = Foothold.begin(task.tracee, task.pid, this.#seen.vmas, company);
    footholds.add(() => foothold[Symbol.dispose]());
    this.#foothold = foothold;
  }

  /** Starts the program of the main thread. */
  start(): void {
    const task = this.#task;
    const foothold = this.#inside;
    foothold.arrive();
    logDebug(`foothold in task ${task.pid} gained`);
    const { bellSignal: signal, bellActionAt: actionAt, remote } = foothold;
    task.bell = actionAt === undefined ? undefined : { signal, actionAt };
    task.remote = remote;
    const fdFlags = task.captured.files ? undefined : new FdFlags(task.fds);
    const program = remote.program();
    const readers = [...taskReaders(task, program), fdFlags?.ask(program)];
    remote.start(program);
    this.#end = () => {
      remote.finish(program);
      for (const read of readers) read?.();
      fdFlags?.askRest(remote);
      task.fdFlags = fdFlags?.known ?? new Map();
    };
  }

  /** Reads what it has found out, asks the other threads, and sends the process out. */
  finish(): void {
    const task = this.#task;
    const foothold = this.#inside;
    this.#end();
    this.#askOthers(foothold);
    if (this.#mayCopy) this.#live?.take(task, foothold.bellSignal);
    foothold.depart();
  }

  /** While one thread runs its program, that of the next is made, and what the one before it has told is read. */
  #askOthers(foothold: Foothold): void {
    let going: { readonly visit: Visit; readonly readers: readonly Reader[] } | undefined;
    const end = (): readonly Reader[] => {
      const ended = going;
      going = undefined;
      ended?.visit.end();
      return ended?.readers ?? [];
    };
    try {
      for (const thread of this.#task.threads.slice(1)) {
        const program = foothold.remote.program();
        const readers = threadReaders(thread, program);
        const before = end();
        going = { visit: foothold.beginVisit(thread.tracee, program), readers };
        for (const read of before) read?.();
      }
      for (const read of end()) read?.();
    } finally {
      // After an error: the thread is not to be left in our code.
      end();
    }
  }

  get #inside(): Foothold {
    if (this.#foothold) return this.#foothold;
    throw new StasisError({ kind: 'internal', task: this.#task.ref, reason: 'it was not entered' });
  }
}

type Reader = (() => void) | undefined;

function taskReaders(task: DumpTask, program: Program): Reader[] {
  return taskKinds.flatMap((kind) => [kind.capture?.(task, program), kind.thread?.capture?.(task, program)]);
}

function threadReaders(thread: DumpThread, program: Program): Reader[] {
  return taskKinds.map((kind) => kind.thread?.capture?.(thread, program));
}
