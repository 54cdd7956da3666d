/**
 * A process that waits for the death of Stasis, whatever the cause, and then does what Stasis cannot do any more.
 *
 * It sleeps in poll(2) on a pidfd of Stasis, which becomes readable when all threads of Stasis are dead. By then the
 * kernel has released our tracees (exit_ptrace() comes before do_notify_pidfd() in exit_notify()), so the guard can
 * seize them.
 */

import { POLL } from '../kernel/constants/files.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { Pollfd } from '../kernel/layouts/files.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { ChildProgram } from './child-program.ts';
import type { Program } from './program.ts';

export class Guard implements Disposable {
  readonly #child = new ChildProgram();
  readonly #ourselves: Fd;
  readonly #pid: number;

  /** `plan` adds the calls that the guard makes if Stasis dies before the guard is disposed of. @throws SyscallError */
  constructor(plan: (program: Program) => void) {
    this.#ourselves = new Fd(syscall('pidfd_open', process.pid, 0));
    const program = this.#child.program();
    const watched = Pollfd.encode({ fd: this.#ourselves.number, events: POLL.IN });
    program.call('poll', program.data(watched), 1, -1);
    plan(program);
    try {
      this.#pid = this.#child.start(program);
    } catch (error) {
      this.#ourselves[Symbol.dispose]();
      this.#child[Symbol.dispose]();
      throw error;
    }
  }

  /** Ends the guard, when its work is not needed any more. */
  [Symbol.dispose](): void {
    trySyscall('kill', this.#pid, SIG.KILL);
    trySyscall('wait4', this.#pid, 0, W.ALL, 0);
    this.#ourselves[Symbol.dispose]();
    this.#child[Symbol.dispose]();
  }
}
