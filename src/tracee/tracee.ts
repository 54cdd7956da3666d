/** A seized task: stopped, readable, resumable, and let go when its scope ends. */

import type { Arch, Registers } from '../arch/arch.ts';
import { thisArch } from '../arch/index.ts';
import type { HostPid, Milliseconds } from '../base/brands.ts';
import { InterruptedError, StasisError } from '../base/errors.ts';
import { readProc } from '../kernel/proc/read.ts';
import { type ProcStatus, parseStatus } from '../kernel/proc/status.ts';
import { ERRNO, trySyscall } from '../kernel/syscall.ts';
import { requireUninterrupted } from './interruption.ts';
import * as pt from './ptrace.ts';

const NT_PRSTATUS = 1;
/** Sent by tgkill(2). */
const SI_TKILL = -6;
/** More than the state of any processor so far (11 KiB); grown if the kernel has more to say. */
const XSTATE_GUESS = 16 * 1024;

/** How often attaching is tried to a task that does not look as if it could not be attached to. */
const MOST_TRIES = 50;

/** Milliseconds an interrupted call may still take. Those of a task that only waits for a processor are over sooner. */
const LAST_PATIENCE = 2000;

/** How a stopped task is set going. */
export type Resume = typeof pt.PTRACE.CONT | typeof pt.PTRACE.SYSCALL;

export class Tracee implements Disposable {
  readonly pid: HostPid;
  readonly arch: Arch;
  /** siginfo of signals that arrived while the task was ours, and were kept from it until it is let go. */
  readonly held: Uint8Array[] = [];
  /** The signal of the group stop the task was found in, if it was. */
  groupStop: number | undefined;
  #attached = true;

  private constructor(pid: HostPid) {
    this.pid = pid;
    this.arch = thisArch();
  }

  /**
   * Attaches to a running task without stopping it (PTRACE_SEIZE).
   * @throws StasisError kind 'gone', 'permission' or 'conflict' (somebody else traces it)
   */
  static attach(pid: HostPid, options: number): Tracee {
    const result = pt.tryPtrace(pt.PTRACE.SEIZE, pid, 0, options | pt.PTRACE_O.TRACESYSGOOD);
    if (result < 0) throw seizeError(pid, -result);
    return new Tracee(pid);
  }

  /**
   * As {@link attach}, for a task that comes and goes: undefined if it is dead or gone. One that is traced by us
   * already is taken over: a thread that executes a program goes on, tracer and all, under its process's id.
   * @throws StasisError kind 'permission' or 'conflict', as attach
   */
  static attachIfAlive(pid: HostPid): Tracee | undefined {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      if (pt.tryPtrace(pt.PTRACE.SEIZE, pid, 0, pt.PTRACE_O.TRACESYSGOOD) === 0) return new Tracee(pid);
      const status = statusIfAny(pid);
      if (!status || status.state === 'Z' || status.state === 'X') return undefined;
      if (status.tracerPid === process.pid) return new Tracee(pid);
      if (status.tracerPid !== 0) break;
      // It may be dying between the two looks. Or another thread of it, executing a program, has just taken over its
      // id: that is waited for inside the kernel, and refused then for the one that had it before.
    }
    return Tracee.attach(pid, 0); // says what is wrong
  }

  /**
   * A task that a tracee of ours has just made with CLONE_PTRACE: the kernel has attached it to us, with the options of
   * its maker (ptrace_init_task()). Waits for the stop it is born in.
   * @throws StasisError if it is dead already
   */
  static born(pid: HostPid): Tracee {
    const tracee = new Tracee(pid);
    const stop = pt.waitStop(pid);
    if (stop.kind === 'exited' || stop.kind === 'killed') throw tracee.#ended(stop);
    return tracee;
  }

  /**
   * Stops the task (PTRACE_INTERRUPT). A signal on its way is delivered first, so that nothing is out of order.
   * @throws StasisError if that takes longer than `patience` milliseconds: it sleeps where nothing wakes it
   * @throws InterruptedError
   */
  stop(patience: Milliseconds = Number.POSITIVE_INFINITY): void {
    this.interrupt();
    for (;;) {
      const stop = pt.waitStop(this.pid, patience);
      if (!stop) {
        requireUninterrupted();
        throw this.#stuck(patience);
      }
      if (stop.kind === 'exited' || stop.kind === 'killed') throw this.#ended(stop);
      if (this.standsStill(stop)) return;
    }
  }

  /** Asks the task to stop, soon. False if it is no tracee of ours, or no more. */
  interrupt(): boolean {
    return pt.tryPtrace(pt.PTRACE.INTERRUPT, this.pid) !== -ERRNO.ESRCH;
  }

  /** Whether a stop is the one that was asked for. If not, the task goes on to it, with its signal. */
  standsStill(stop: pt.Stop): boolean {
    if (stop.kind === 'event') {
      if (stop.signal !== 5) this.groupStop = stop.signal;
      return true;
    }
    // Any stop takes an interrupt with it that comes while it is being made (ptrace_stop()), so it is asked again.
    this.interrupt();
    pt.tryPtrace(pt.PTRACE.CONT, this.pid, 0, stop.kind === 'signal' ? stop.signal : 0);
    return false;
  }

  /** Sets the task going and waits until `wanted` says this is the stop; other signals are held back meanwhile. */
  resumeUntil(how: Resume, wanted: (stop: pt.Stop) => boolean): void {
    pt.ptrace(how, this.pid);
    this.waitUntil(how, wanted);
  }

  /**
   * The waiting half of {@link resumeUntil}, for several tasks set going together.
   * With a `patience`, which may be infinite, the wait can be given up.
   * @throws StasisError after `patience` milliseconds; the task is stopped then, or not ours any more
   * @throws InterruptedError likewise, when a signal asks Stasis to end
   */
  waitUntil(how: Resume, wanted: (stop: pt.Stop) => boolean, patience?: number): void {
    for (let reason: StasisError | undefined; ; ) {
      const stop =
        patience === undefined ? pt.waitStop(this.pid) : pt.waitStop(this.pid, reason ? LAST_PATIENCE : patience);
      if (!stop) {
        if (reason) throw this.#unstoppable(reason);
        reason = this.#reasonToStop(patience ?? 0);
        pt.ptrace(pt.PTRACE.INTERRUPT, this.pid);
        continue;
      }
      if (this.#isWanted(stop, wanted)) return;
      if (reason && stop.kind === 'event') throw reason;
      pt.ptrace(how, this.pid);
    }
  }

  #reasonToStop(patience: number): StasisError {
    try {
      requireUninterrupted();
    } catch (error) {
      if (error instanceof StasisError) return error;
      throw error;
    }
    return this.#asleep(patience);
  }

  /**
   * Not detached: only a stopped task can be. The kernel does that when we end, and what we have begun in it ends by
   * itself.
   */
  #unstoppable(reason: StasisError): StasisError {
    this.#attached = false;
    if (reason instanceof InterruptedError) {
      return new InterruptedError(reason.signal, `task ${this.pid} goes on where it was when the call returns`);
    }
    return new StasisError({
      kind: 'conflict',
      code: 'CALL_TIMED_OUT',
      task: { pid: this.pid },
      reason: `${reason.reason}; it cannot be interrupted either, and goes on where it was when the call returns`,
      remedy: 'wait for its disk or network',
    });
  }

  /** As {@link waitUntil}, without waiting: whether the stop wanted has come. */
  hasStopped(how: Resume, wanted: (stop: pt.Stop) => boolean): boolean {
    for (;;) {
      const stop = pt.waitStop(this.pid, -1);
      if (!stop) return false;
      if (this.#isWanted(stop, wanted)) return true;
      pt.ptrace(how, this.pid);
    }
  }

  /**
   * Sorts a stop: the wanted one, or one after which the task is to go on.
   * @throws StasisError when it has ended, or cannot go on: code of ours has faulted, and would forever
   */
  #isWanted(stop: pt.Stop, wanted: (stop: pt.Stop) => boolean): boolean {
    if (stop.kind === 'exited' || stop.kind === 'killed') throw this.#ended(stop);
    if (wanted(stop)) return true;
    if (stop.kind !== 'signal') return false;
    const info = pt.getSiginfo(this.pid);
    if (isFault(info)) throw this.#faulted(stop.signal);
    this.held.push(info);
    return false;
  }

  #faulted(signal: number): StasisError {
    return new StasisError({
      kind: 'internal',
      task: { pid: this.pid },
      reason: `code of Stasis in the task was stopped by signal ${signal}`,
    });
  }

  #asleep(patience: Milliseconds): StasisError {
    return new StasisError({
      kind: 'conflict',
      code: 'CALL_TIMED_OUT',
      task: { pid: this.pid },
      reason: `the system call did not return within ${patience / 1000} s and was interrupted`,
      remedy: 'give it longer with --timeout',
    });
  }

  #stuck(patience: Milliseconds): StasisError {
    // Not detached: only a stopped task can be, and it is set free when we end.
    this.#attached = false;
    return new StasisError({
      kind: 'conflict',
      code: 'TASK_STALLED',
      task: { pid: this.pid },
      reason: `the task did not stop within ${patience / 1000} s: it is in an uninterruptible sleep`,
      remedy: 'wait for its disk or network, or give it longer with --timeout',
    });
  }

  /** Waits until a task that was killed is gone. */
  awaitEnd(): void {
    pt.awaitEnd(this.pid);
    this.#attached = false;
  }

  #ended(stop: pt.Stop): StasisError {
    this.#attached = false;
    return pt.endedError(this.pid, stop);
  }

  /**
   * General registers. @throws StasisError for a task that runs 32-bit code: the kernel gives fewer and narrower ones
   */
  getRegisters(): Registers {
    const registers = new BigUint64Array(this.arch.registerCount);
    const length = pt.getRegset(this.pid, NT_PRSTATUS, new Uint8Array(registers.buffer));
    if (length === registers.byteLength) return registers;
    throw new StasisError({
      kind: 'unsupported',
      code: 'TASK_32BIT',
      task: { pid: this.pid },
      reason: '32-bit programs are not carried yet',
    });
  }

  /** Replaces the general registers. */
  setRegisters(registers: Registers): void {
    pt.setRegset(this.pid, NT_PRSTATUS, new Uint8Array(registers.buffer, registers.byteOffset, registers.byteLength));
  }

  /** The extended state in the layout and size the kernel says. */
  getExtendedState(): Uint8Array {
    for (let size = XSTATE_GUESS; ; size *= 2) {
      const buffer = new Uint8Array(size);
      const length = pt.getRegset(this.pid, this.arch.extendedState.note, buffer);
      if (length < size) return buffer.slice(0, length);
    }
  }

  /** Replaces the extended state. */
  setExtendedState(state: Uint8Array): void {
    pt.setRegset(this.pid, this.arch.extendedState.note, state);
  }

  /**
   * Lets the task go on from where its registers say, and sends it the signals that were kept from it. All that are
   * ever held are a bell and SIGSTOP, for everything else is blocked meanwhile. False if it does not stand: it is
   * dying.
   */
  detach(): boolean {
    if (!this.#attached) return true;
    this.#attached = false;
    this.#release();
    // ESRCH: killed meanwhile by somebody else; there is nothing left to let go.
    return pt.tryPtrace(pt.PTRACE.DETACH, this.pid) === 0;
  }

  /** As {@link detach}, where it is the success of the whole. @throws StasisError; the task is still ours then */
  setFree(): void {
    this.#release();
    pt.ptrace(pt.PTRACE.DETACH, this.pid);
    this.#attached = false;
  }

  #release(): void {
    for (const info of this.held.splice(0)) {
      const view = new DataView(info.buffer, info.byteOffset);
      // What was sent to one thread is this thread's again.
      trySyscall(view.getInt32(8, true) === SI_TKILL ? 'tkill' : 'kill', this.pid, view.getInt32(0, true));
    }
  }

  /** Sets the task going to the next entry of a system call, or to the exit of the one it is in. */
  passSyscallStop(): void {
    this.resumeUntil(pt.PTRACE.SYSCALL, (stop) => stop.kind === 'syscall');
  }

  /** Has the task make its next system call, watched from entry to exit; answers its result, perhaps -errno. */
  passSyscall(): number {
    this.passSyscallStop();
    this.passSyscallStop();
    return this.arch.result(this.getRegisters());
  }

  /**
   * Gives the task registers and mask in the one kind of stop from which the kernel still restarts an interrupted
   * system call (get_signal() runs after it): an interrupt's. It stands there then.
   */
  putBack(registers: Registers, mask: bigint): void {
    pt.ptrace(pt.PTRACE.INTERRUPT, this.pid);
    this.resumeUntil(pt.PTRACE.CONT, (stop) => stop.kind === 'event');
    pt.setSignalMask(this.pid, mask);
    this.setRegisters(registers);
  }

  /** From now on the task is killed when we end, however that is; if it is alive. */
  dieWithUs(): void {
    pt.tryPtrace(pt.PTRACE.SETOPTIONS, this.pid, 0, pt.PTRACE_O.TRACESYSGOOD | pt.PTRACE_O.EXITKILL);
  }

  /** From now on the task goes on when we end. @throws SyscallError */
  outliveUs(): void {
    pt.ptrace(pt.PTRACE.SETOPTIONS, this.pid, 0, pt.PTRACE_O.TRACESYSGOOD);
  }

  /** Whether the task is still ours to let go. */
  get attached(): boolean {
    return this.#attached;
  }

  /** Gives up the task without a word to the kernel: it is dead, or dies with us. */
  forget(): void {
    this.#attached = false;
  }

  [Symbol.dispose](): void {
    this.detach();
  }
}

/** SIGILL, SIGBUS, SIGFPE, SIGSEGV: what an instruction may cause. */
const FAULTS: readonly number[] = [4, 7, 8, 11];

/** Whether a signal comes from the instruction just tried: a positive si_code is the kernel's own word. */
function isFault(info: Uint8Array): boolean {
  const view = new DataView(info.buffer, info.byteOffset);
  return FAULTS.includes(view.getInt32(0, true)) && view.getInt32(8, true) > 0;
}

function statusIfAny(pid: HostPid): ProcStatus | undefined {
  try {
    return parseStatus(readProc(pid, 'status'));
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'gone') return undefined;
    throw error;
  }
}

function seizeError(pid: HostPid, errno: number): StasisError {
  if (errno === ERRNO.ESRCH) {
    return new StasisError({ kind: 'gone', task: { pid }, reason: 'no such process' });
  }
  if (!parseStatus(readProc(pid, 'status')).hasMemory) {
    return new StasisError({
      kind: 'unsupported',
      code: 'TASK_DEAD',
      task: { pid },
      reason: 'it is a zombie or a kernel thread',
    });
  }
  return new StasisError({
    kind: 'permission',
    code: 'TASK_NOT_TRACEABLE',
    task: { pid },
    reason: 'the kernel does not let Stasis trace this task',
    remedy: 'another tracer (gdb, strace) may hold it, or CAP_SYS_PTRACE is missing',
  });
}
