/**
 * The foothold in a task that is not ours, and the dead man's switch.
 *
 * Nothing of the task is used: neither its stack, nor its code, nor its floating-point state. A few hundred bytes of
 * straight-line code are written into the *cave*, the zero bytes after the end of the vdso's image, through
 * /proc/PID/mem (the page is private, so the kernel copies it). This code maps the work area. Its second half restores
 * everything, signal mask, signal action, mapping and registers, and jumps to where the task was. A finished program
 * sends the *bell*, a signal that the task ignores meanwhile and whose delivery stops it for its tracer. Without a
 * tracer the ignored signal has no effect, and the task runs on into the second half of the cave. So whenever Stasis
 * dies, the task leaves by itself.
 */

import type { Cave, LiftedLimit, Registers } from '../arch/arch.ts';
import type { HostPid, Milliseconds } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { Part } from '../base/part.ts';
import { NT_PRSTATUS, W } from '../kernel/constants/ptrace.ts';
import type { Word } from '../kernel/ffi.ts';
import { ERRNO, type Fd } from '../kernel/syscall.ts';
import { bellOf, chooseBell } from './bell.ts';
import { CAVE_SIZE, findCave, type Mapping, WAY_OUT_SIZE } from './cave.ts';
import { findGap } from './gap.ts';
import { Guard } from './guard.ts';
import { findLimitsRoom, LIMITS_SIZE } from './headroom.ts';
import { requireInjectable } from './injectable.ts';
import { forceWrite, openMemory } from './memory.ts';
import { AREA, Indirect, type Program, type Ref } from './program.ts';
import { getSignalMask, PTRACE, PTRACE_O, ptrace, setSignalMask } from './ptrace.ts';
import { Remote } from './remote.ts';
import type { Tracee } from './tracee.ts';
import type { Ground, Visit } from './visit.ts';

/** Further facts about the task. All tasks listed are stopped. */
export interface Company {
  /** All other tasks with the same memory, mainly the other threads of the process. */
  readonly others?: readonly Tracee[];
  /** The threads, this one included, that seccomp would not let leave by themselves: see {@link threadsWithoutExit}. */
  readonly exitless?: ReadonlySet<Tracee>;
  /** Limits of the process that have to be raised for the work area: {@link limitsToLift}. */
  readonly lift?: readonly LiftedLimit[];
  /** The signals of which the process has handlers (SigCgt in its status): the way is shorter if they are known. */
  readonly caught?: bigint;
}

// Only for processes with several threads.
const VISITS = new Part(() => require('./visit.ts') as typeof import('./visit.ts'));
// Only for a leader that seccomp would not let leave by itself.
const HOME = new Part(() => require('./home-remote.ts') as typeof import('./home-remote.ts'));
// Only for a task in which a Stasis was killed.
const RESCUE = new Part(() => require('./rescue.ts') as typeof import('./rescue.ts'));

export class Foothold implements Disposable {
  readonly remote: Remote;
  /**
   * The bell signal, and the address in the area of the task's own action for it (the 32 bytes of struct sigaction);
   * undefined if the action is what it was.
   */
  readonly bellSignal: number;
  readonly bellActionAt: number | undefined;
  readonly #tracee: Tracee;
  readonly #mem: Fd;
  readonly #cave: Cave;
  readonly #caveAt: number;
  readonly #registers: Registers;
  readonly #mask: bigint;
  readonly #ground: Ground;
  readonly #exitForbidden: boolean;
  /** The limits that are raised meanwhile, and the address of the code for that. */
  readonly #lift: readonly LiftedLimit[];
  readonly #limitsAt: number;
  #state: 'outside' | 'entering' | 'inside' | 'leaving' = 'outside';

  private constructor(
    tgid: HostPid,
    tracee: Tracee,
    mem: Fd,
    caveAt: number,
    maps: readonly Mapping[],
    company: Company,
  ) {
    const { others = [], exitless = new Set(), lift = [], caught } = company;
    this.#tracee = tracee;
    this.#mem = mem;
    this.#registers = tracee.getRegisters();
    this.#mask = getSignalMask(tracee.pid);
    this.#exitForbidden = exitless.has(tracee);
    const mayBeQuiet = lift.length === 0 && !this.#exitForbidden;
    const { signal, isQuiet } = chooseBell(tgid, tracee, others, mayBeQuiet ? caught : undefined);
    this.bellSignal = signal;
    this.#caveAt = caveAt;
    this.#lift = lift;
    this.#limitsAt = lift.length > 0 ? findLimitsRoom({ pid: tgid }, [tracee, ...others], mem, maps) : 0;
    const area = findGap(maps, AREA.length);
    const oldAction = AREA.code + AREA.entries + AREA.heap;
    const done = oldAction + 32;
    this.bellActionAt = isQuiet ? undefined : area + oldAction;
    this.#cave = tracee.arch.cave({
      address: this.#caveAt,
      area,
      areaLength: AREA.length,
      codeLength: AREA.code,
      bell: signal,
      isQuiet,
      oldAction,
      done,
      // From the code that restores the limits the task returns to where it was.
      registers: lift.length > 0 ? tracee.arch.jump(this.#registers, this.#limitsAt) : this.#registers,
      mask: this.#mask,
    });
    const { claim } = this.#cave;
    const wayOutPlan = { address: this.#caveAt + CAVE_SIZE - WAY_OUT_SIZE, claim, done: area + done };
    this.#ground = { mem, area, bell: signal, wayOutPlan, wayOut: undefined, exitless, guest: undefined };
    const base = tracee.arch.withWayOut(this.#registers, this.#cave.leave);
    this.remote = this.#exitForbidden
      ? new (HOME.load().HomeRemote)(tracee, base, this.#ground)
      : new Remote(tracee, area, base, this.bellSignal);
  }

  /**
   * Gains a foothold in a stopped task: a thread of process `tgid`, preferably one that is not exitless.
   * @throws StasisError if there is no place for the cave, or the task may map no more memory; it is unharmed then
   * @throws StrandedError if the caller has to examine the threads again and retry
   */
  static gain(tracee: Tracee, tgid: HostPid, maps: readonly Mapping[], company: Company = {}): Foothold {
    const foothold = Foothold.begin(tracee, tgid, maps, company);
    foothold.arrive();
    return foothold;
  }

  /**
   * The first half of {@link gain}, so that several processes can be on their way in at the same time. Nothing may run
   * in the task before {@link arrive}.
   */
  static begin(tracee: Tracee, tgid: HostPid, maps: readonly Mapping[], company: Company = {}): Foothold {
    requireInjectable(tracee);
    for (const { pid } of company.exitless ?? []) {
      logWarn(
        'foothold.ts',
        `thread ${pid}: seccomp kills it if Stasis is killed while it has the thread run something`,
      );
    }
    const mem = openMemory(tracee.pid);
    try {
      const { at, left } = findCave(tgid, tracee.arch, mem, maps);
      if (left) RESCUE.load().rescueStranded({ at, left }, [tracee, ...(company.others ?? [])], mem, maps);
      const foothold = new Foothold(tgid, tracee, mem, at, maps, company);
      foothold.#enter();
      return foothold;
    } catch (error) {
      mem[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Waits until the task has its work area.
   * @throws StasisError if it may map no more memory; it is unharmed then
   */
  arrive(): void {
    if (this.#state !== 'entering') return;
    this.#state = 'outside';
    try {
      this.#awaitBell(this.#cave.quiet?.entered);
      const outcome = this.#tracee.arch.outcomeOfEntry(this.#tracee.getRegisters());
      if (outcome < 0) throw this.#refused('mmap', outcome);
      this.#furnish();
    } catch (error) {
      this.#mem[Symbol.dispose]();
      throw error;
    }
  }

  /** If anything fails here, the task is let go where it is: from every instruction of the cave it leaves by itself. */
  #enter(): void {
    forceWrite(this.#mem, this.#caveAt, this.#cave.code);
    this.#goTo(this.#lift.length > 0 ? this.#layOutLimits() : this.#cave.enter);
    if (this.#cave.quiet) {
      ptrace(PTRACE.CONT, this.#tracee.pid);
      this.#state = 'entering';
      return;
    }
    try {
      for (const _ of this.#lift) this.#step('prlimit64');
      for (const call of ['rt_sigprocmask', 'mmap', 'mprotect', 'rt_sigaction', 'rt_sigaction']) this.#step(call);
      this.#furnish();
    } finally {
      if (this.#exitForbidden) this.#goHome();
    }
  }

  /** Writes the interpreter into the area. */
  #furnish(): void {
    const { area } = this.#ground;
    forceWrite(this.#mem, area, this.#tracee.arch.programCode({ kind: 'bell', signal: this.bellSignal }));
    this.#state = 'inside';
  }

  /** Writes the code that raises limits before the cave and restores them after it. Returns its entry. */
  #layOutLimits(): number {
    const { code, enter } = this.#tracee.arch.limitsCode({
      address: this.#limitsAt,
      size: LIMITS_SIZE,
      limits: this.#lift,
      cave: this.#cave.enter,
      registers: this.#registers,
      mask: this.#mask,
    });
    forceWrite(this.#mem, this.#limitsAt, code);
    return enter;
  }

  /**
   * Sends the task to an address of the cave. The registers are set before the mask, so that the cave restores both if
   * Stasis dies between the two.
   */
  #goTo(way: number): void {
    this.#tracee.setRegisters(this.#tracee.arch.jump(this.#registers, way));
    setSignalMask(this.#tracee.pid, ~(1n << BigInt(this.bellSignal - 1)));
  }

  /**
   * Runs a program of {@link Remote.program} in another stopped thread of the process, and leaves that, stopped, as it
   * was. No program may be running in the process.
   * @throws RemoteCallError at the first failure that is not tolerated; the thread is as it was then, too
   */
  visit(thread: Tracee, program: Program, patience: Milliseconds = Number.POSITIVE_INFINITY): void {
    this.beginVisit(thread, program).end(patience);
  }

  /** The first half of {@link visit}: starts the program. Several processes can have one visit each at a time. */
  beginVisit(thread: Tracee, program: Program): Visit {
    return VISITS.load().Visit.begin(this.#ground, thread, program);
  }

  /**
   * As {@link Remote.run}, for a call that may sleep for any time. If Stasis dies meanwhile, a guard process leads the
   * task out of the call. The same happens if Stasis ends and the call can neither continue nor be interrupted.
   */
  runGuarded(program: Program, patience: number): Program {
    const guard = new Guard((plan) => this.#leadOut(plan));
    try {
      return this.remote.run(program, patience);
    } finally {
      if (this.#tracee.attached) guard[Symbol.dispose]();
    }
  }

  /**
   * Adds the calls of the guard, which make the task leave if it is still in the call. A call that fails ends the plan.
   */
  #leadOut(plan: Program): void {
    const { pid, arch } = this.#tracee;
    const { area } = this.#ground;
    const bytes = (words: BigUint64Array): Uint8Array =>
      new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    const iovec = (address: number, length: number): number =>
      plan.data(bytes(BigUint64Array.of(BigInt(address), BigInt(length))));
    const { byteLength } = this.#registers;
    const found = plan.space(byteLength);
    const trace = (request: number, address: Word = 0, data: Word = 0): Ref =>
      plan.call('ptrace', request, pid, address, data);
    const setRegisters = (registers: Registers): Ref =>
      trace(PTRACE.SETREGSET, NT_PRSTATUS, iovec(plan.data(bytes(registers)), byteLength));
    const awaitStop = (): Ref => plan.call('wait4', pid, found, W.ALL, 0);
    // A task that leaves by itself unmaps the area last. If the area is gone, the task must not be touched.
    plan.call('process_vm_readv', pid, iovec(found, 8), 1, iovec(area, 8), 1, 0);
    trace(PTRACE.SEIZE, 0, PTRACE_O.TRACESYSGOOD);
    trace(PTRACE.INTERRUPT);
    awaitStop();
    trace(PTRACE.GETREGSET, NT_PRSTATUS, iovec(found, byteLength));
    plan.expect(new Indirect(found + arch.pcOffset), area + arch.callReturn);
    if (!this.#exitForbidden) {
      setRegisters(arch.jump(this.#registers, this.#cave.leave));
      // Entry and exit of rt_sigaction, unless the bell is quiet, and of munmap.
      for (let stops = this.#cave.quiet ? 2 : 4; stops > 0; stops--) {
        trace(PTRACE.SYSCALL);
        awaitStop();
      }
      trace(PTRACE.INTERRUPT);
      trace(PTRACE.CONT);
      awaitStop();
    }
    trace(PTRACE.SETSIGMASK, 8, plan.data(bytes(BigUint64Array.of(this.#mask))));
    // Through the code that restores raised limits, which then returns to where the task was.
    setRegisters(this.#lift.length > 0 ? arch.jump(this.#registers, this.#limitsAt) : this.#registers);
    trace(PTRACE.DETACH);
  }

  /** Runs one system call of the cave, from its entry to its exit. */
  #step(name: string): void {
    const result = this.#tracee.passSyscall();
    if (result < 0) throw this.#refused(name, result);
  }

  #refused(name: string, result: number): StasisError {
    return new StasisError({
      kind: result === -ERRNO.ENOMEM ? 'conflict' : 'kernel',
      task: { pid: this.#tracee.pid },
      resource: name,
      reason: `the task cannot run a call for Stasis (${result})`,
      remedy: 'raise its RLIMIT_AS or vm.max_map_count, or look for a seccomp filter',
    });
  }

  /**
   * Sends the task out, if it can go by itself, so that several processes can be on their way out at the same time. The
   * foothold still has to be disposed of.
   */
  depart(): void {
    const { quiet } = this.#cave;
    if (!quiet || this.#state !== 'inside' || this.#ground.guest) return;
    this.#state = 'outside';
    this.#quietly(() => {
      this.#tracee.setRegisters(this.#tracee.arch.jump(this.#registers, quiet.depart));
      ptrace(PTRACE.CONT, this.#tracee.pid);
      this.#state = 'leaving';
    });
  }

  /** Restores the task, which stays stopped, and ends the foothold. */
  [Symbol.dispose](): void {
    if (this.#state !== 'outside') this.#end();
    this.#mem[Symbol.dispose]();
  }

  #end(): void {
    this.#quietly(() => {
      this.arrive();
      if (this.#ground.guest) throw new Error(`thread ${this.#ground.guest.pid} has not come back`);
      this.depart();
      if (this.#state === 'leaving') this.#awaitDeparture();
      else this.#leave();
      forceWrite(this.#mem, this.#caveAt, new Uint8Array(CAVE_SIZE));
      if (this.#lift.length > 0) forceWrite(this.#mem, this.#limitsAt, new Uint8Array(LIMITS_SIZE));
    });
    this.#state = 'outside';
  }

  /** As after a visit, the kernel restarts an interrupted call from the stop that the bell caused. */
  #awaitDeparture(): void {
    this.#awaitBell(this.#cave.quiet?.departed);
    setSignalMask(this.#tracee.pid, this.#mask);
    this.#tracee.setRegisters(this.#registers);
  }

  /** Waits until the task rings at this place of the cave: anybody may send it the same signal. */
  #awaitBell(place: number | undefined): void {
    const isBell = bellOf(this.#tracee, this.bellSignal);
    const isThere = (): boolean => Number(this.#tracee.arch.pc(this.#tracee.getRegisters())) === place;
    this.#tracee.waitUntil(PTRACE.CONT, (stop) => isBell(stop) && isThere());
  }

  /** Call by call. */
  #leave(): void {
    this.#goTo(this.#cave.leave);
    this.#step('rt_sigaction');
    this.#step('munmap');
    if (this.#lift.length > 0) this.#goTo(this.#limitsAt);
    for (const _ of this.#lift) this.#step('prlimit64');
    this.#goHome();
  }

  /**
   * Does work that restores the task. If that fails halfway (for example because the task was killed), the task is
   * released and leaves through the cave. Errors are not thrown, so that they do not hide an earlier error.
   */
  #quietly(work: () => void): void {
    try {
      work();
    } catch (error) {
      logWarn('foothold.ts', `task ${this.#tracee.pid} was left to itself: ${String(error)}`);
    }
  }

  #goHome(): void {
    this.#tracee.putBack(this.#registers, this.#mask);
  }
}
