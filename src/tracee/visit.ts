/**
 * Runs a program in another thread of a process that has a foothold. Afterwards the thread is left in the stop that the
 * bell caused. From there the kernel restarts an interrupted call as from a stop by PTRACE_INTERRUPT. And once a stop
 * has been waited for, the signal is not delivered if Stasis dies (wait_task_stopped() has cleared the exit code that
 * would deliver it).
 *
 * If Stasis dies, all threads leave by themselves, at the same time. The exit code of the leader unmaps the area, and a
 * visited thread must not be in it then. So before the thread enters the area, the *claim* is set, a word in the cave,
 * which changes both exit codes with one write. With the claim, the leader waits until the thread says that it has left
 * the area, and the thread says so. Without it, the leader does not wait, and the thread does not touch the area.
 *
 * An exitless thread (seccomp-exit.ts) may be killed by seccomp while it leaves. Nobody waits for such a thread: the
 * claim then says that the area stays mapped.
 */

import { CLAIM, type Registers, type WayOut, type WayOutPlan } from '../arch/arch.ts';
import { thisArch } from '../arch/index.ts';
import type { Milliseconds } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import type { Fd } from '../kernel/syscall.ts';
import { requireInjectable } from './injectable.ts';
import { forceWrite } from './memory.ts';
import type { Program } from './program.ts';
import { getSignalMask, PTRACE, ptrace, setSignalMask } from './ptrace.ts';
import { Remote } from './remote.ts';
import type { Tracee } from './tracee.ts';

/** The parts of a foothold that its visits use. */
export interface Ground {
  /** /proc/PID/mem of the process. */
  readonly mem: Fd;
  readonly area: number;
  readonly bell: number;
  /** The exit code of a visited thread, which is written for each visit: what it is made of, and the code once made. */
  readonly wayOutPlan: WayOutPlan;
  wayOut: WayOut | undefined;
  /** Threads that seccomp would not let leave. */
  readonly exitless: ReadonlySet<Tracee>;
  /** The thread that is in the area. A thread whose visit failed stays recorded here. */
  guest: Tracee | undefined;
}

/** A program running in a thread of a process that is not ours. */
export class Visit {
  readonly #ground: Ground;
  readonly #thread: Tracee;
  readonly #program: Program;
  readonly #registers: Registers;
  readonly #mask: bigint;
  readonly #remote: Remote;

  private constructor(ground: Ground, thread: Tracee, program: Program) {
    this.#ground = ground;
    this.#thread = thread;
    this.#program = program;
    this.#registers = thread.getRegisters();
    this.#mask = getSignalMask(thread.pid);
    const base = thread.arch.withWayOut(this.#registers, wayOutOf(ground).enter);
    this.#remote = new Remote(thread, ground.area, base, ground.bell);
  }

  /**
   * Starts a program in a stopped thread and returns at once. Until {@link end} no other thread of the process may run
   * a program.
   * @throws StasisError if the thread cannot run it; the thread is then unchanged
   */
  static begin(ground: Ground, thread: Tracee, program: Program): Visit {
    if (ground.guest) throw occupied(thread, ground.guest);
    requireInjectable(thread);
    const visit = new Visit(ground, thread, program);
    ground.guest = thread;
    try {
      visit.#enter();
    } catch (error) {
      visit.#giveBack();
      throw error;
    }
    return visit;
  }

  /**
   * Waits for the end of the program, reads its results, and puts the thread, stopped, back where it was. A call that
   * sleeps longer than `patience` milliseconds is interrupted.
   * @throws RemoteCallError at the first failure that is not tolerated
   */
  end(patience: Milliseconds = Number.POSITIVE_INFINITY): void {
    try {
      this.#remote.finish(this.#program, patience);
    } finally {
      this.#giveBack();
    }
  }

  /** Sends the thread into the area. The order matters, since Stasis may be killed after each line. */
  #enter(): void {
    const { mem, wayOutPlan, bell, exitless } = this.#ground;
    const wayOut = wayOutOf(this.#ground);
    wayOut.set(this.#registers, this.#mask);
    forceWrite(mem, wayOutPlan.address, wayOut.code);
    this.#faceTheWayOut();
    setSignalMask(this.#thread.pid, ~(1n << BigInt(bell - 1)));
    this.#claim(exitless.has(this.#thread) ? CLAIM.forGood : CLAIM.guest);
    this.#remote.start(this.#program);
  }

  /**
   * Undoes {@link enter} in reverse order. If that fails, the thread is dead, or leaves by itself when it is released.
   */
  #giveBack(): void {
    try {
      this.#faceTheWayOut();
      this.#claim(CLAIM.none);
      setSignalMask(this.#thread.pid, this.#mask);
      this.#thread.setRegisters(this.#registers);
      this.#ground.guest = undefined;
    } catch (error) {
      logWarn('visit.ts', `thread ${this.#thread.pid} was left to itself: ${String(error)}`);
    }
  }

  #faceTheWayOut(): void {
    const { enter } = wayOutOf(this.#ground);
    this.#thread.setRegisters(this.#thread.arch.jump(this.#registers, enter));
  }

  #claim(word: number): void {
    ptrace(PTRACE.POKEDATA, this.#thread.pid, this.#ground.wayOutPlan.claim, word);
  }
}

function wayOutOf(ground: Ground): WayOut {
  ground.wayOut ??= thisArch().wayOut(ground.wayOutPlan);
  return ground.wayOut;
}

function occupied(thread: Tracee, guest: Tracee): StasisError {
  return new StasisError({
    kind: 'internal',
    task: { pid: thread.pid },
    reason: `the work area is in use by thread ${guest.pid}`,
  });
}
