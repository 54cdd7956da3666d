/**
 * Programs run detached: by a child of ours that shares our memory and our descriptors, but neither our session nor our
 * signals.
 *
 * For what must not be left half done. We may be killed at any instant; the child, in a session of its own, still comes
 * to the end of its program, and so undoes what it began with.
 */

import { StasisError } from '../base/errors.ts';
import { W } from '../kernel/constants/ptrace.ts';
import { arenaAddress, arenaView, syscall } from '../kernel/syscall.ts';
import { ChildProgram, CLONE_VFORK } from './child-program.ts';
import type { Program } from './program.ts';

export class DetachedProcess implements Disposable {
  readonly #child = new ChildProgram();

  /** An empty program. All of its calls are attempts: a failed one that is not tolerated would end it half done. */
  program(): Program {
    return this.#child.program();
  }

  /** Runs a program to its end; its results can then be read. @throws StasisError */
  run(program: Program): Program {
    syscall('wait4', this.#child.start(program, CLONE_VFORK), arenaAddress, W.ALL, 0);
    const status = arenaView.getInt32(0, true);
    if (status !== 0) throw new StasisError({ kind: 'internal', reason: `a detached program ended with ${status}` });
    this.#child.fetch(program);
    return program;
  }

  [Symbol.dispose](): void {
    this.#child[Symbol.dispose]();
  }
}
