/** A seized task. It can be stopped, read and resumed, and is released at the end of the scope. */

import type { Arch, Registers } from '../arch/arch.ts';
import { thisArch } from '../arch/index.ts';
import type { HostPid, Milliseconds } from '../base/brands.ts';
import { InterruptedError, StasisError } from '../base/errors.ts';
import { NT_PRSTATUS } from '../kernel/constants/ptrace.ts';
import { SI } from '../kernel/constants/signals.ts';
import { readProc } from '../kernel/proc/read.ts';
import { type ProcStatus, parseStatus } from '../kernel/proc/status.ts';
import { ERRNO, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { requireUninterrupted } from './interruption.ts';
import * as pt from './ptrace.ts';

/**
 * Where extended states are read into: more than the state of today's processors (11 KiB). It grows if the kernel has
 * more.
 */
let state = new Uint8Array(16 * 1024);

/** How often attaching is tried if nothing explains why it fails. */
const MOST_TRIES = 50;

/** Milliseconds that an interrupted call may still take. A task that only waits for a CPU needs less. */
const LAST_PATIENCE = 2000;

/** The ptrace requests that resume a stopped task. */
export type Resume = typeof pt.PTRACE.CONT | typeof pt.PTRACE.SYSCALL;

export class Tracee implements Disposable {
  readonly pid: HostPid;
  readonly arch: Arch;
  /** siginfo of signals that arrived while the task was traced. They are held back until the task is released. */
  readonly held: Uint8Array[] = [];
  /** The signal of the group stop the task was in when it was stopped; undefined if it was in none. */
  groupStop: number | undefined;
  #attached = true;

  private constructor(pid: HostPid) {
    this.pid = pid;
    this.arch = thisArch();
  }

  /**
   * Attaches to a running task without stopping it (PTRACE_SEIZE).
   * @throws StasisError kind 'gone', 'permission' or 'conflict' (another process traces it)
   */
  static attach(pid: HostPid, options: number): Tracee {
    const result = pt.tryPtrace(pt.PTRACE.SEIZE, pid, 0, options | pt.PTRACE_O.TRACESYSGOOD);
    if (result < 0) throw seizeError(pid, -result);
    return new Tracee(pid);
  }

  /**
   * As {@link attach}, for a task that may end: undefined if it is dead or gone. A task that is our tracee already is
   * taken over: a thread that executes a program gets the TID of the main thread and keeps its tracer.
   * @throws StasisError kind 'permission' or 'conflict', as attach
   */
  static attachIfAlive(pid: HostPid): Tracee | undefined {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      if (pt.tryPtrace(pt.PTRACE.SEIZE, pid, 0, pt.PTRACE_O.TRACESYSGOOD) === 0) return new Tracee(pid);
      const status = statusIfAny(pid);
      if (!status || status.state === 'Z' || status.state === 'X') return undefined;
      if (status.tracerPid === process.pid) return new Tracee(pid);
      if (status.tracerPid !== 0) break;
      // The task may be dying between the two checks. Or another thread of the process executes a program and takes
      // over this TID: the kernel waits for that, and then refuses the thread that had the TID before.
    }
    return Tracee.attach(pid, 0); // throws the reason
  }

  /**
   * A task that one of our tracees has just made with CLONE_PTRACE: the kernel has attached it to us, with the options
   * of its maker (ptrace_init_task()). Waits for its initial stop.
   * @throws StasisError if it is dead already
   */
  static born(pid: HostPid): Tracee {
    const tracee = new Tracee(pid);
    const stop = pt.waitStop(pid);
    if (stop.kind === 'exited' || stop.kind === 'killed') throw tracee.#ended(stop);
    return tracee;
  }

  /**
   * Stops the task (PTRACE_INTERRUPT). A signal that is being delivered is delivered first, so that the order is kept.
   * @throws StasisError if that takes longer than `patience` milliseconds, because the task sleeps uninterruptibly
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

  /** Requests a stop. Returns false if the task is not (or no longer) our tracee. */
  interrupt(): boolean {
    for (let attempt = 1; attempt <= 3; attempt++) {
      const result = pt.tryPtrace(pt.PTRACE.INTERRUPT, this.pid);
      // Whoever waits for the stop afterwards waits for ever if it was not requested.
      if (result >= 0 || result === -ERRNO.ESRCH) return result >= 0;
    }
    return true; // it is about to end (EIO), which the wait reports
  }

  /** Whether a stop is the requested one. If not, the task is resumed, with the signal of the stop. */
  standsStill(stop: pt.Stop): boolean {
    if (stop.kind === 'event') {
      if (stop.signal !== 5) this.groupStop = stop.signal;
      return true;
    }
    // A stop consumes an interrupt that arrives meanwhile (ptrace_stop()), so the interrupt is requested again.
    this.interrupt();
    const result = pt.tryPtrace(pt.PTRACE.CONT, this.pid, 0, stop.kind === 'signal' ? stop.signal : 0);
    if (result < 0 && result !== -ERRNO.ESRCH) throw new SyscallError('ptrace', -result, { task: { pid: this.pid } });
    return false;
  }

  /** Resumes the task and waits for a stop that `wanted` accepts. Signals that arrive meanwhile are held back. */
  resumeUntil(how: Resume, wanted: (stop: pt.Stop) => boolean): void {
    pt.ptrace(how, this.pid);
    this.waitUntil(how, wanted);
  }

  /**
   * The waiting half of {@link resumeUntil}, for several tasks that were resumed together. With a `patience`, which may
   * be infinite, the wait can be given up.
   * @throws StasisError after `patience` milliseconds; the task is then stopped, or not our tracee any more
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
   * Gives up a task that does not stop. Only a stopped task can be detached; the kernel does that when Stasis ends, and
   * the code started in the task ends by itself.
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

  /** As {@link waitUntil}, without waiting. Returns whether the wanted stop has come. */
  hasStopped(how: Resume, wanted: (stop: pt.Stop) => boolean): boolean {
    for (;;) {
      const stop = pt.waitStop(this.pid, -1);
      if (!stop) return false;
      if (this.#isWanted(stop, wanted)) return true;
      pt.ptrace(how, this.pid);
    }
  }

  /**
   * Whether a stop is the wanted one. If not, the task is resumed.
   * @throws StasisError if the task has ended, or if injected code has faulted, which it would do again
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
    // Only a stopped task can be detached; the kernel detaches it when Stasis ends.
    this.#attached = false;
    return new StasisError({
      kind: 'conflict',
      code: 'TASK_STALLED',
      task: { pid: this.pid },
      reason: `the task did not stop within ${patience / 1000} s: it is in an uninterruptible sleep`,
      remedy: 'wait for its disk or network, or give it longer with --timeout',
    });
  }

  /** Waits until a killed task is gone. */
  awaitEnd(): void {
    pt.awaitEnd(this.pid);
    this.#attached = false;
  }

  #ended(stop: pt.Stop): StasisError {
    this.#attached = false;
    return pt.endedError(this.pid, stop);
  }

  /**
   * The general registers. @throws StasisError for a task that runs 32-bit code, for which the kernel gives other
   * registers
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

  /** The extended state, in the layout and size that the kernel gives. */
  getExtendedState(): Uint8Array {
    for (;;) {
      const length = pt.getRegset(this.pid, this.arch.extendedState.note, state);
      if (length < state.length) return state.slice(0, length);
      state = new Uint8Array(2 * state.length);
    }
  }

  /** Replaces the extended state. */
  setExtendedState(state: Uint8Array): void {
    pt.setRegset(this.pid, this.arch.extendedState.note, state);
  }

  /**
   * Detaches the task, which continues as its registers say, and sends it the signals that were held back. Only the
   * bell and SIGSTOP are ever held back, since all others are blocked meanwhile. Returns false if the task is not
   * stopped because it is dying.
   */
  detach(): boolean {
    if (!this.#attached) return true;
    this.#attached = false;
    this.#release();
    // ESRCH means that the task was killed meanwhile, so there is nothing to detach.
    return pt.tryPtrace(pt.PTRACE.DETACH, this.pid) === 0;
  }

  /** As {@link detach}, but a failure is an error. @throws StasisError; the task is then still attached */
  setFree(): void {
    this.#release();
    pt.ptrace(pt.PTRACE.DETACH, this.pid);
    this.#attached = false;
  }

  /** Forgets signals that were held back. */
  discard(isUnwanted: (info: Uint8Array) => boolean): void {
    this.held.splice(0, this.held.length, ...this.held.filter((info) => !isUnwanted(info)));
  }

  #release(): void {
    for (const info of this.held.splice(0)) {
      const view = new DataView(info.buffer, info.byteOffset);
      // A signal that was sent to one thread is sent to this thread again.
      trySyscall(view.getInt32(8, true) === SI.TKILL ? 'tkill' : 'kill', this.pid, view.getInt32(0, true));
    }
  }

  /** Resumes the task up to the entry of its next system call, or to the exit of the current one. */
  passSyscallStop(): void {
    this.resumeUntil(pt.PTRACE.SYSCALL, (stop) => stop.kind === 'syscall');
  }

  /** Runs the task through its next system call. Returns the result, which may be -errno. */
  passSyscall(): number {
    this.passSyscallStop();
    this.passSyscallStop();
    return this.arch.result(this.getRegisters());
  }

  /**
   * Sets registers and mask in a stop by PTRACE_INTERRUPT, the only kind of stop after which the kernel restarts an
   * interrupted system call (get_signal() runs after it). The task stays in that stop.
   */
  putBack(registers: Registers, mask: bigint): void {
    pt.ptrace(pt.PTRACE.INTERRUPT, this.pid);
    this.resumeUntil(pt.PTRACE.CONT, (stop) => stop.kind === 'event');
    pt.setSignalMask(this.pid, mask);
    this.setRegisters(registers);
  }

  /** Sets PTRACE_O_EXITKILL: the task is killed when Stasis ends for whatever reason. Does nothing for a dead task. */
  dieWithUs(): void {
    pt.tryPtrace(pt.PTRACE.SETOPTIONS, this.pid, 0, pt.PTRACE_O.TRACESYSGOOD | pt.PTRACE_O.EXITKILL);
  }

  /** Removes PTRACE_O_EXITKILL: the task continues when Stasis ends. @throws SyscallError */
  outliveUs(): void {
    pt.ptrace(pt.PTRACE.SETOPTIONS, this.pid, 0, pt.PTRACE_O.TRACESYSGOOD);
  }

  /** Whether the task is still attached. */
  get attached(): boolean {
    return this.#attached;
  }

  /** Forgets the task without detaching it, since it is dead or dies with Stasis. */
  forget(): void {
    this.#attached = false;
  }

  [Symbol.dispose](): void {
    this.detach();
  }
}

/** Signals that an instruction may cause: SIGILL, SIGBUS, SIGFPE, SIGSEGV. */
const FAULTS: readonly number[] = [4, 7, 8, 11];

/** Whether an instruction of the task caused the signal: only the kernel sends a positive si_code. */
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
