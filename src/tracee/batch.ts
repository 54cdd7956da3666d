/** A program that runs by itself when it is full: for the long sequences of a restore. */
import type { SyscallName } from '../kernel/nr.ts';
import type { Argument, Program } from './program.ts';
import type { Remote } from './remote.ts';

export class Batch {
  readonly #remote: Remote;
  #program: Program;
  #afterwards: ((program: Program) => void)[] = [];

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
  after(work: (program: Program) => void): void {
    this.#afterwards.push(work);
  }

  /** Runs what has been collected. @throws RemoteCallError */
  flush(): void {
    if (this.#program.calls === 0) return;
    const program = this.#program;
    const afterwards = this.#afterwards;
    this.#program = this.#remote.program();
    this.#afterwards = [];
    this.#remote.run(program);
    for (const work of afterwards) work(program);
  }
}
