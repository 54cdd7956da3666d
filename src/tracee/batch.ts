/** A program that runs by itself when it is full: for the long sequences of a restore. */
import type { SyscallName } from '../arch/syscall-numbers.ts';
import type { Argument, Program } from './program.ts';
import type { Remote } from './remote.ts';

/** Called with a program's results when it has run. */
type Afterwards = (program: Program) => void;

export class Batch {
  readonly #remote: Remote;
  #program: Program;
  #afterwards: Afterwards[] = [];
  /** What was set going and has not been waited for. */
  #running: { readonly program: Program; readonly afterwards: readonly Afterwards[] } | undefined;

  constructor(remote: Remote) {
    this.#remote = remote;
    this.#program = remote.program();
  }

  /**
   * A program with room for so many more calls and bytes of data. What is added to it before the next `reserve` runs
   * together, so a call may use the result of another.
   */
  reserve(calls: number, bytes = 0): Program {
    if (!this.#program.fits(calls, bytes)) this.flush();
    return this.#program;
  }

  /** One call that needs nothing else; a failure fails the restore. */
  call(name: SyscallName, ...args: readonly Argument[]): void {
    this.reserve(1).call(name, ...args);
  }

  /** Has `work` called with the program's results once the calls added so far have run. */
  after(work: Afterwards): void {
    this.#afterwards.push(work);
  }

  /** Runs what has been collected, to its end. @throws RemoteCallError */
  flush(): void {
    this.begin();
    this.#finish();
  }

  /**
   * Sets going what has been collected, and returns at once: many tasks work at the same time so. Until the next
   * {@link flush} nothing may be done with the task but by this batch, nor with another one that has its memory.
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
