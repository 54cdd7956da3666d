/** Collects calls in a program that runs automatically when it is full, for the long sequences of a restore. */
import type { SyscallName } from '../arch/syscall-numbers.ts';
import type { Argument, Program } from './program.ts';
import type { Remote } from './remote.ts';

/** Called with a program's results when it has run. */
type Afterwards = (program: Program) => void;

export class Batch {
  readonly #remote: Remote;
  #program: Program;
  #afterwards: Afterwards[] = [];
  /** The program that was started and has not been waited for. */
  #running: { readonly program: Program; readonly afterwards: readonly Afterwards[] } | undefined;

  constructor(remote: Remote) {
    this.#remote = remote;
    this.#program = remote.program();
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

  /** Runs the collected calls and waits for their end. @throws RemoteCallError */
  flush(): void {
    this.begin();
    this.#finish();
  }

  /**
   * Starts the collected calls and returns at once, so that many tasks work at the same time. Until the next {@link
   * flush} the task, and every other task that shares its memory, may only be used through this batch.
   */
  begin(): void {
    this.#finish();
    if (this.#program.calls === 0) return;
    const running = { program: this.#program, afterwards: this.#afterwards };
    this.#program = this.#remote.program();
    this.#afterwards = [];
    this.#remote.start(running.program);
    this.#running = running;
  }

  #finish(): void {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    this.#remote.finish(running.program);
    for (const work of running.afterwards) work(running.program);
  }
}
