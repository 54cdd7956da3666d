/**
 * The foothold in a task that is not ours, and the dead man's switch.
 *
 * Nothing of the task is used: not its stack, not its code, not its floating-point state. A few hundred bytes of
 * straight-line code go into the *cave*, the zero bytes after the end of the vdso's image, written through
 * /proc/PID/mem (the page is private, so it is copied). That code maps the work area, and below it puts everything
 * back: signal mask, signal action, mapping, registers, and jumps to where the task was. A finished program rings the
 * *bell*, a signal the task ignores for the time being and whose delivery stops it for its tracer. Without a tracer an
 * ignored signal is nothing, and the task runs on into the cave's second half: whenever we die, it walks out alone.
 */

import type { Cave, LiftedLimit, Registers } from '../arch/arch.ts';
import type { HostPid, Milliseconds } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { NT, W } from '../kernel/constants/ptrace.ts';
import type { Word } from '../kernel/ffi.ts';
import { ERRNO, type Fd } from '../kernel/syscall.ts';
import { CAVE_SIZE, findCave, type Mapping, WAY_OUT_SIZE } from './cave.ts';
import { findGap } from './gap.ts';
import { Guard } from './guard.ts';
import { findLimitsRoom, LIMITS_SIZE } from './headroom.ts';
import { requireInjectable } from './injectable.ts';
import { forceWrite, openMemory } from './memory.ts';
import { AREA, Indirect, type Program, type Ref } from './program.ts';
import { getSignalMask, PTRACE, PTRACE_O, peekSignals, setSignalMask } from './ptrace.ts';
import { Remote } from './remote.ts';
import { rescueStranded } from './stranded.ts';
import type { Tracee } from './tracee.ts';
import { type Ground, Visit } from './visit.ts';

/** What else is to be known of the task. All who are there are stopped. */
export interface Company {
  /** All other tasks with the same memory: the other threads of the process above all. */
  readonly others?: readonly Tracee[];
  /** Of all these those that seccomp would not let out: see {@link threadsWithoutExit}. */
  readonly exitless?: ReadonlySet<Tracee>;
  /** Limits of the process that have to be lifted for the work area: {@link limitsToLift}. */
  readonly lift?: readonly LiftedLimit[];
}

/** Signals that serve as a bell, the least used first: SIGSTKFLT, SIGPWR, SIGURG, SIGWINCH, SIGXCPU. */
const BELLS = [16, 30, 23, 28, 24] as const;

export class Foothold implements Disposable {
  readonly remote: Remote;
  /** The action of the bell signal, as it was: the 32 bytes of struct sigaction are at this address of the area. */
  readonly bellSignal: number;
  readonly bellActionAt: number;
  readonly #tracee: Tracee;
  readonly #mem: Fd;
  readonly #cave: Cave;
  readonly #caveAt: number;
  readonly #registers: Registers;
  readonly #mask: bigint;
  readonly #ground: Ground;
  readonly #exitForbidden: boolean;
  /** Limits that are lifted meanwhile, and where the calls for that lie. */
  readonly #lift: readonly LiftedLimit[];
  readonly #limitsAt: number;
  #open = false;

  private constructor(
    tgid: HostPid,
    tracee: Tracee,
    mem: Fd,
    caveAt: number,
    maps: readonly Mapping[],
    company: Company,
  ) {
    const { others = [], exitless = new Set(), lift = [] } = company;
    this.#tracee = tracee;
    this.#mem = mem;
    this.#registers = tracee.getRegisters();
    this.#mask = getSignalMask(tracee.pid);
    this.bellSignal = chooseBell(tgid, [tracee, ...others]);
    this.#caveAt = caveAt;
    this.#lift = lift;
    this.#limitsAt = lift.length > 0 ? findLimitsRoom({ pid: tgid }, [tracee, ...others], mem, maps) : 0;
    const area = findGap(maps, AREA.length);
    this.bellActionAt = area + AREA.code + AREA.entries + AREA.heap;
    const done = this.bellActionAt + 32;
    this.#cave = tracee.arch.cave({
      address: this.#caveAt,
      area,
      areaLength: AREA.length,
      codeLength: AREA.code,
      bell: this.bellSignal,
      oldAction: this.bellActionAt,
      done,
      // From there it goes home.
      registers: lift.length > 0 ? tracee.arch.jump(this.#registers, this.#limitsAt) : this.#registers,
      mask: this.#mask,
    });
    const wayOutAt = this.#caveAt + CAVE_SIZE - WAY_OUT_SIZE;
    const { claim } = this.#cave;
    const wayOut = tracee.arch.wayOut({ address: wayOutAt, claim, done });
    this.#ground = { mem, area, bell: this.bellSignal, wayOut, wayOutAt, claim, exitless, guest: undefined };
    const base = tracee.arch.withWayOut(this.#registers, this.#cave.leave);
    this.#exitForbidden = exitless.has(tracee);
    this.remote = this.#exitForbidden
      ? new HomeRemote(tracee, base, this.#ground)
      : new Remote(tracee, area, base, this.bellSignal);
  }

  /**
   * Gets a foothold in a stopped task: a thread of process `tgid`, best one that is not exitless.
   * @throws StasisError if there is no place for the cave, or the task may map no more memory; it is unharmed then
   * @throws StrandedError to be tried again, with what is known of the threads looked up anew
   */
  static gain(tracee: Tracee, tgid: HostPid, maps: readonly Mapping[], company: Company = {}): Foothold {
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
      if (left) rescueStranded({ at, left }, [tracee, ...(company.others ?? [])], mem, maps);
      const foothold = new Foothold(tgid, tracee, mem, at, maps, company);
      foothold.#enter();
      return foothold;
    } catch (error) {
      mem[Symbol.dispose]();
      throw error;
    }
  }

  #enter(): void {
    try {
      this.#makeArea();
    } finally {
      if (this.#exitForbidden) this.#goHome();
    }
  }

  /** Runs the first half of the cave, call by call, then installs the interpreter. */
  #makeArea(): void {
    const { arch } = this.#tracee;
    forceWrite(this.#mem, this.#caveAt, this.#cave.code);
    // If anything fails here, the task is let go where it is: from every point of the cave it walks out by itself.
    this.#goTo(this.#lift.length > 0 ? this.#layOutLimits() : this.#cave.enter);
    for (const _ of this.#lift) this.#step('prlimit64');
    for (const call of ['rt_sigprocmask', 'mmap', 'mprotect', 'rt_sigaction', 'rt_sigaction']) this.#step(call);
    forceWrite(this.#mem, this.#ground.area, arch.programCode({ kind: 'bell', signal: this.bellSignal }));
    this.#open = true;
  }

  /** Writes what lifts limits before the cave and puts them back behind it; answers where it is entered. */
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

  /** First the registers, then the mask: were we to die between the two, the cave would put both back. */
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

  /** The first half of {@link visit}: sets the program going. Several processes can have one visit each at a time. */
  beginVisit(thread: Tracee, program: Program): Visit {
    return Visit.begin(this.#ground, thread, program);
  }

  /**
   * As {@link Remote.run}, for a call that may sleep as long as it likes: should we be killed meanwhile, a process of
   * ours that waits for that leads the task out of it. So does our end if the call can neither go on nor be
   * interrupted.
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
   * What the guard does: it leads the task out, as we do, if it is in the call still. Each call that fails ends the
   * plan.
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
      trace(PTRACE.SETREGSET, NT.PRSTATUS, iovec(plan.data(bytes(registers)), byteLength));
    const awaitStop = (): Ref => plan.call('wait4', pid, found, W.ALL, 0);
    // The area is unmapped just before a task that walks out by itself is where it was: it is not to be touched.
    plan.call('process_vm_readv', pid, iovec(found, 8), 1, iovec(area, 8), 1, 0);
    trace(PTRACE.SEIZE, 0, PTRACE_O.TRACESYSGOOD);
    trace(PTRACE.INTERRUPT);
    awaitStop();
    trace(PTRACE.GETREGSET, NT.PRSTATUS, iovec(found, byteLength));
    plan.expect(new Indirect(found + arch.pcOffset), area + arch.callReturn);
    if (!this.#exitForbidden) {
      setRegisters(arch.jump(this.#registers, this.#cave.leave));
      // Entry and exit of rt_sigaction and munmap.
      for (let stops = 0; stops < 4; stops++) {
        trace(PTRACE.SYSCALL);
        awaitStop();
      }
      trace(PTRACE.INTERRUPT);
      trace(PTRACE.CONT);
      awaitStop();
    }
    trace(PTRACE.SETSIGMASK, 8, plan.data(bytes(BigUint64Array.of(this.#mask))));
    // By way of the code that puts lifted limits back, which it finds its way home from.
    setRegisters(this.#lift.length > 0 ? arch.jump(this.#registers, this.#limitsAt) : this.#registers);
    trace(PTRACE.DETACH);
  }

  /** One system call of the cave: to its entry, to its exit. */
  #step(name: string): void {
    const result = this.#tracee.passSyscall();
    if (result >= 0) return;
    throw new StasisError({
      kind: result === -ERRNO.ENOMEM ? 'conflict' : 'kernel',
      task: { pid: this.#tracee.pid },
      resource: name,
      reason: `the task cannot run a call for Stasis (${result})`,
      remedy: 'raise its RLIMIT_AS or vm.max_map_count, or look for a seccomp filter',
    });
  }

  /** Leaves the task as it was found, stopped still. The foothold is gone afterwards. */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    this.#quietly(() => {
      if (this.#ground.guest) throw new Error(`thread ${this.#ground.guest.pid} has not come back`);
      this.#goTo(this.#cave.leave);
      this.#step('rt_sigaction');
      this.#step('munmap');
      if (this.#lift.length > 0) this.#goTo(this.#limitsAt);
      for (const _ of this.#lift) this.#step('prlimit64');
      this.#goHome();
      forceWrite(this.#mem, this.#caveAt, new Uint8Array(CAVE_SIZE));
      if (this.#lift.length > 0) forceWrite(this.#mem, this.#limitsAt, new Uint8Array(LIMITS_SIZE));
    });
  }

  /**
   * Work that gives the task back. If that fails halfway (it was killed meanwhile, say), the rest is the task's: let
   * go, it walks out through the cave. What went wrong before must not be hidden by this.
   */
  #quietly(work: () => void): void {
    try {
      work();
    } catch (error) {
      logWarn('foothold.ts', `task ${this.#tracee.pid} was left to itself: ${String(error)}`);
    } finally {
      this.#mem[Symbol.dispose]();
    }
  }

  #goHome(): void {
    this.#tracee.putBack(this.#registers, this.#mask);
  }
}

/**
 * Between its programs a exitless leader is where it was found: if we die then, what we leave behind harms less than
 * it.
 */
class HomeRemote extends Remote {
  readonly #ground: Ground;
  #visit: Visit | undefined;

  constructor(tracee: Tracee, base: Registers, ground: Ground) {
    super(tracee, ground.area, base, ground.bell);
    this.#ground = ground;
  }

  override start(program: Program): void {
    this.#visit = Visit.begin(this.#ground, this.tracee, program);
  }

  override finish(program: Program, patience: Milliseconds = Number.POSITIVE_INFINITY): Program {
    this.#visit?.end(patience);
    return program;
  }
}

/** A bell must have no instance pending in any thread: ignoring a signal drops those (do_sigaction). */
function chooseBell(tgid: HostPid, tracees: readonly Tracee[]): number {
  const pending = new Set<number>();
  const note = (infos: readonly Uint8Array[]): void => {
    for (const info of infos) pending.add(new DataView(info.buffer).getInt32(0, true));
  };
  for (const { pid } of tracees) note(peekSignals(pid, false));
  for (const { pid } of tracees.slice(0, 1)) note(peekSignals(pid, true));
  const bell = BELLS.find((signal) => !pending.has(signal));
  if (bell === undefined) {
    const reason = 'every signal Stasis could use is pending';
    throw new StasisError({ kind: 'unsupported', code: 'ALL_SIGNALS_PENDING', task: { pid: tgid }, reason });
  }
  return bell;
}
