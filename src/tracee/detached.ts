/**
 * Runs programs detached: in a child that shares the memory and descriptors of Stasis, but neither its session nor its
 * signals.
 *
 * Used for work that must not be left half done. If Stasis is killed, the child still comes to the end of its program,
 * which undoes what it began with. The kernel lets our tracees go on as soon as Stasis is dead, so the child must not
 * wait for a processor by then: it is a real-time task, if Stasis may make one (CAP_SYS_NICE).
 */

import { StasisError } from '../base/errors.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { CLONE, SCHED } from '../kernel/constants/tasks.ts';
import { SchedAttr } from '../kernel/layouts/tasks.ts';
import { arenaAddress, arenaView, syscall } from '../kernel/syscall.ts';
import { ChildProgram } from './child-program.ts';
import type { Program } from './program.ts';

const URGENT = SchedAttr.encode({ size: SchedAttr.size, policy: SCHED.FIFO, priority: 1 });

export class DetachedProcess implements Disposable {
  readonly #child = new ChildProgram();

  /**
   * A new program. All its calls must be attempts, since a failed call that is not tolerated would end it half done.
   */
  program(): Program {
    const program = this.#child.program();
    program.attempt('sched_setattr', 0, program.data(URGENT), 0);
    return program;
  }

  /** Runs a program to its end and reads its results. @throws StasisError */
  run(program: Program): Program {
    syscall('wait4', this.#child.start(program, CLONE.VFORK), arenaAddress, W.ALL, 0);
    const status = arenaView.getInt32(0, true);
    if (status !== 0) throw new StasisError({ kind: 'internal', reason: `a detached program ended with ${status}` });
    this.#child.fetch(program);
    return program;
  }

  [Symbol.dispose](): void {
    this.#child[Symbol.dispose]();
  }
}
