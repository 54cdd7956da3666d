/**
 * A process that waits for the death of Stasis, whatever the cause, and then does what Stasis cannot do any more.
 *
 * It sleeps in poll(2) on a pidfd of Stasis, which becomes readable when all threads of Stasis are dead. By then the
 * kernel has released our tracees (exit_ptrace() comes before do_notify_pidfd() in exit_notify()), so the guard can
 * seize them.
 *
 * It shares our descriptors, and would hold them open after our death: a pipe of a task whose reader waits for the end,
 * a lock, a userfaultfd. So it gives up all that it does not need before it does anything else.
 */

import { type LocalFd, taskFd } from '../base/brands.ts';
import { CLOSE_RANGE } from '../kernel/constants/close-range.ts';
import { POLL } from '../kernel/constants/files.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { Pollfd } from '../kernel/layouts/files.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { ChildProgram } from './child-program.ts';
import type { Program } from './program.ts';

/** Descriptors of ours that a guard needs: all of them, or one. */
export type Kept = 'all' | LocalFd;

const LAST = 0xffff_ffff;

export class Guard implements Disposable {
  readonly #child = new ChildProgram();
  readonly #ourselves: Fd;
  readonly #pid: number;

  /**
   * `plan` adds the calls that the guard makes if Stasis dies before the guard is disposed of; `kept` are the
   * descriptors for them. @throws SyscallError
   */
  constructor(plan: (program: Program) => void, kept?: Kept) {
    this.#ourselves = new Fd(syscall('pidfd_open', process.pid, 0));
    const program = this.#child.program();
    const watched = Pollfd.encode({ fd: this.#ourselves.number, events: POLL.IN });
    program.call('poll', program.data(watched), 1, -1);
    if (kept !== 'all') giveUp(program, kept);
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
    // Who waits for one that was not killed waits for ever; without its memory it ends when it wakes up.
    if (trySyscall('kill', this.#pid, SIG.KILL) === 0) trySyscall('wait4', this.#pid, 0, W.ALL, 0);
    this.#ourselves[Symbol.dispose]();
    this.#child[Symbol.dispose]();
  }
}

/** Has a guard leave the descriptor table that it shares, perhaps with other guards, but for one descriptor. */
function giveUp(program: Program, kept: LocalFd | undefined): void {
  if (kept === undefined) {
    program.attempt('close_range', 0, LAST, CLOSE_RANGE.UNSHARE);
    return;
  }
  program.attempt('close_range', taskFd(kept + 1), LAST, CLOSE_RANGE.UNSHARE);
  if (kept > 0) program.attempt('close_range', 0, taskFd(kept - 1), 0);
}
