/** Runs programs in a stopped task that has a work area. */

import type { Registers } from '../arch/arch.ts';
import type { Milliseconds } from '../base/brands.ts';
import { SIG } from '../kernel/constants/signals.ts';
import { Pins } from '../kernel/ffi.ts';
import { arenaAddress, arenaView, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { bellOf } from './bell.ts';
import { AREA, Program, Ref } from './program.ts';
import { PTRACE, ptrace, type Stop } from './ptrace.ts';
import type { Tracee } from './tracee.ts';

const isTrap = (stop: Stop): boolean => stop.kind === 'signal' && stop.signal === SIG.TRAP;

/** A task that executes programs. */
export class Remote {
  readonly tracee: Tracee;
  /** Address of the work area. */
  readonly area: number;
  readonly #base: Registers;
  /** Whether the end of the running program has been seen while its results have not been read. */
  #over = false;
  readonly #isEnd: (stop: Stop) => boolean;

  /** `endSignal` stops the task after a program: SIGTRAP in a seed, the bell in a task that is not ours. */
  constructor(tracee: Tracee, area: number, base: Registers, endSignal: number) {
    this.tracee = tracee;
    this.area = area;
    this.#base = base;
    // Another process's bell is held back like any other signal.
    this.#isEnd = endSignal === SIG.TRAP ? isTrap : bellOf(tracee, endSignal);
  }

  /** An empty program for this task. */
  program(): Program {
    return new Program(this.area);
  }

  /**
   * Runs a program to its end. A call that sleeps longer than `patience` milliseconds is interrupted.
   * @throws RemoteCallError at the first failure that is not tolerated
   */
  run(program: Program, patience: Milliseconds = Number.POSITIVE_INFINITY): Program {
    this.start(program);
    return this.finish(program, patience);
  }

  /** Builds and runs a program. */
  do<T>(build: (program: Program) => T): { program: Program; built: T } {
    const program = this.program();
    const built = build(program);
    this.run(program);
    return { program, built };
  }

  /** Starts a program and returns at once. */
  start(program: Program): void {
    this.#load(program);
    this.resume();
  }

  #load(program: Program): void {
    this.#transfer('process_vm_writev', program);
    this.tracee.setRegisters(this.tracee.arch.runProgram(this.#base, this.area, program.start));
  }

  /** Continues the task without changing anything. */
  resume(): void {
    const result = trySyscall('ptrace', PTRACE.CONT, this.tracee.pid, 0, 0);
    if (result < 0) throw new SyscallError('ptrace', -result, { task: { pid: this.tracee.pid } });
  }

  /** Whether a started program has ended. {@link finish} still has to be called. */
  ended(): boolean {
    this.#over ||= this.tracee.hasStopped(PTRACE.CONT, this.#isEnd);
    return this.#over;
  }

  /** Waits for the end of a started program and reads its results. */
  finish(program: Program, patience: Milliseconds = Number.POSITIVE_INFINITY): Program {
    const { tracee } = this;
    if (!this.#over) tracee.waitUntil(PTRACE.CONT, this.#isEnd, patience);
    this.#over = false;
    const counter = tracee.arch.programCounter(tracee.getRegisters());
    this.#transfer('process_vm_readv', program);
    const done = (counter - program.start) / 64;
    if (done < program.calls) {
      throw program.failure(tracee.pid, counter, -program.result(new Ref(done)));
    }
    return program;
  }

  /**
   * Runs a program whose last call sleeps, and interrupts that call. Returns its result, which is one of the kernel's
   * restart codes if the call was still asleep.
   */
  runInterrupted(program: Program): number {
    const { tracee } = this;
    this.#startUntilLastCall(program);
    // The interrupt comes at the entry of the call, which notices it as soon as it would sleep.
    ptrace(PTRACE.INTERRUPT, tracee.pid);
    tracee.resumeUntil(PTRACE.CONT, (stop) => stop.kind === 'event');
    return tracee.arch.result(tracee.getRegisters());
  }

  /**
   * Runs a program, with `pause` while the task is stopped at the entry of the last call, and the results of the others
   * can be read. If Stasis dies in `pause`, the task makes that call all the same. False if this task cannot pause.
   * @throws RemoteCallError
   */
  runWithPause(program: Program, pause: () => void): boolean {
    this.#startUntilLastCall(program);
    try {
      this.#transfer('process_vm_readv', program);
      pause();
    } finally {
      this.resume();
    }
    this.finish(program);
    return true;
  }

  /** Has a seed run a program that ends it, and lets it go: it is no task of ours any more, and outlives us. */
  release(program: Program): void {
    this.#load(program);
    this.tracee.setFree();
  }

  /** Runs up to the entry of the last call. */
  #startUntilLastCall(program: Program): void {
    this.#load(program);
    for (let stops = 2 * (program.calls - 1); stops >= 0; stops--) this.tracee.passSyscallStop();
  }

  /** Copies entries and heap into the task (writev) or back (readv), in one system call. */
  #transfer(call: 'process_vm_writev' | 'process_vm_readv', program: Program): void {
    const entries = program.usedEntries();
    const heap = program.usedHeap();
    const pieces: (readonly [Uint8Array, number])[] = [[entries, program.start]];
    if (heap.length > 0) pieces.push([heap, program.start + AREA.entries]);
    using pins = new Pins();
    let at = 0;
    for (const [bytes, remote] of pieces) {
      arenaView.setBigUint64(at, BigInt(pins.address(bytes)), true);
      arenaView.setBigUint64(at + 8, BigInt(bytes.byteLength), true);
      arenaView.setBigUint64(64 + at, BigInt(remote), true);
      arenaView.setBigUint64(64 + at + 8, BigInt(bytes.byteLength), true);
      at += 16;
    }
    const n = pieces.length;
    const got = trySyscall(call, this.tracee.pid, arenaAddress, n, arenaAddress + 64, n, 0);
    if (got !== entries.byteLength + heap.byteLength) {
      throw new SyscallError(call, got < 0 ? -got : 14, { task: { pid: this.tracee.pid } });
    }
  }
}
