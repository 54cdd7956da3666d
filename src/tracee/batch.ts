/** Collects calls in a program that runs automatically when it is full, for the long sequences of a restore. */
import type { SyscallName } from '../arch/syscall-numbers.ts';
import type { Argument, Program } from './program.ts';
import type { Remote } from './remote.ts';

/** Called with a program's results when it has run. */
type Afterwards = (program: Program) => void;

/** Whose program is in a work area: there is room for one. */
interface Turn {
  of: Batch | undefined;
}

export class Batch {
  readonly #remote: Remote;
  readonly #turn: Turn;
  #program: Program;
  #afterwards: Afterwards[] = [];
  /** The program that was started and has not been waited for. */
  #running: { readonly program: Program; readonly afterwards: readonly Afterwards[] } | undefined;

  /**
   * `akin` is the batch of another thread of the same process, which has the same work area. Processes that share their
   * memory have separate batches: their callers let one come to its end before another begins.
   */
  constructor(remote: Remote, akin?: Batch) {
    this.#remote = remote;
    this.#program = remote.program();
    this.#turn = akin ? akin.#turn : { of: undefined };
  }

  /**
   * A program with room for this many more calls and bytes of data. Calls added to it before the next `reserve` run
   * together, so one may use the result of another.
   */
  reserve(calls: number, bytes = 0): Program {
    if (!this.#program.fits(calls, bytes)) this.flush();
    return this.#program;
  }

  /** Adds one call. If it fails, the restore fails. */
  call(name: SyscallName, ...args: readonly Argument[]): void {
    this.reserve(1).call(name, ...args);
  }

  /** Registers `work`, which is called with the results of the program when the calls added so far have run. */
  after(work: Afterwards): void {
    this.#afterwards.push(work);
  }

  /** Runs the collected calls and waits for their end. No program is in the work area then. @throws RemoteCallError */
  flush(): void {
    this.begin();
    this.#awaitTurn();
  }

  /**
   * Starts the collected calls, when those before them in the work area have come to their end, and does not wait for
   * their own, so that many tasks work at the same time. Until the next {@link flush} the task may only be used through
   * this batch, another thread of its process only through one that is akin, and processes that share its memory not
   * at all.
   */
  begin(): void {
    this.#awaitTurn();
    if (this.#program.calls === 0) return;
    const running = { program: this.#program, afterwards: this.#afterwards };
    this.#program = this.#remote.program();
    this.#afterwards = [];
    this.#remote.start(running.program);
    this.#running = running;
    this.#turn.of = this;
  }

  /** Waits for the end of the program that is in the work area. */
  #awaitTurn(): void {
    const { of } = this.#turn;
    if (of) of.#finish();
  }

  #finish(): void {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    this.#turn.of = undefined;
    this.#remote.finish(running.program);
    for (const work of running.afterwards) work(running.program);
  }
}
