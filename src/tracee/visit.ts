/**
 * A program run in one more thread of a process that has a foothold. The thread is left in the stop that the bell
 * caused: from there the kernel restarts an interrupted call as from an interrupt's stop, and once a stop has been
 * waited for, our death does not bring its signal back (wait_task_stopped() has taken the code that would).
 *
 * If we die, all threads walk out by themselves, and at the same time. The area belongs to the leader, whose way out
 * unmaps it; a visited thread must not be in it then. So before that gets there the *claim* is laid, a word in the
 * cave: from that instant, with one write, both ways out are others. The leader's waits until the thread says that it
 * is done, and the thread's says so. Without the claim the leader's does not wait, and the thread's does not touch the
 * area.
 *
 * A thread that is exitless (seccomp-exit.ts) may be killed by seccomp when our death leaves it on its way. Nobody
 * waits for it: the claim says that the area is to stay.
 */

import { CLAIM, type Registers, type WayOut } from '../arch/arch.ts';
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

/** What a foothold lends to the visits of its threads. */
export interface Ground {
  /** /proc/PID/mem of the process. */
  readonly mem: Fd;
  readonly area: number;
  readonly bell: number;
  /** The way out of a visited thread, written anew for each, and where it lies. */
  readonly wayOut: WayOut;
  readonly wayOutAt: number;
  readonly claim: number;
  /** Threads that would not be let out. */
  readonly exitless: ReadonlySet<Tracee>;
  /** The thread that is in the area; one whose visit went wrong stays. */
  guest: Tracee | undefined;
}

/** A program that runs in a thread of somebody's process. */
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
    const base = thread.arch.withWayOut(this.#registers, ground.wayOut.enter);
    this.#remote = new Remote(thread, ground.area, base, ground.bell);
  }

  /**
   * Sets a program going in a stopped thread and returns at once. Until {@link end} no other thread of the process may
   * run anything.
   * @throws StasisError if the thread cannot run it: it is where it was
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
   * Waits for the end of the program, fetches its results, and puts the thread, stopped, back where it was. A call that
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

  /** After each line we may be dead. */
  #enter(): void {
    const { mem, wayOut, wayOutAt, bell, exitless } = this.#ground;
    wayOut.set(this.#registers, this.#mask);
    forceWrite(mem, wayOutAt, wayOut.code);
    this.#faceTheWayOut();
    setSignalMask(this.#thread.pid, ~(1n << BigInt(bell - 1)));
    this.#claim(exitless.has(this.#thread) ? CLAIM.forGood : CLAIM.guest);
    this.#remote.start(this.#program);
  }

  /** As {@link enter}, backwards. Where that fails the thread is dead, or finds its way out when it is let go. */
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
    const { wayOut } = this.#ground;
    this.#thread.setRegisters(this.#thread.arch.jump(this.#registers, wayOut.enter));
  }

  #claim(word: number): void {
    ptrace(PTRACE.POKEDATA, this.#thread.pid, this.#ground.claim, word);
  }
}

function occupied(thread: Tracee, guest: Tracee): StasisError {
  return new StasisError({
    kind: 'internal',
    task: { pid: thread.pid },
    reason: `the work area is in use by thread ${guest.pid}`,
  });
}
