/**
 * Remote programs: many system calls executed by another task in one round trip. A program is a table of entries and
 * a heap of bytes (strings, structs, room for results); both are copied into the task's work area, run there by the
 * interpreter of arch/, and read back. Building is pure.
 */

import { SPECIAL } from '../arch/arch.ts';
import { PAGE_SIZE } from '../arch/page-size.ts';
import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import type { HostPid, TaskNumber } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { Word } from '../kernel/ffi.ts';
import { describeErrno } from '../kernel/syscall.ts';

/** The result of an earlier call of the same program, to be used as an argument. */
export class Ref {
  readonly index: number;

  constructor(index: number) {
    this.index = index;
  }
}

/**
 * An argument that is read from the task's memory when the call is made, for example a descriptor that was just
 * received.
 */
export class Indirect {
  readonly address: number;

  constructor(address: number) {
    this.address = address;
  }
}

/** An argument of a remote call. */
export type Argument = TaskNumber | bigint | Ref | Indirect;

/**
 * Sizes of the work area: a page of code, then entries, then the heap. No program touches the rest at the end, where a
 * foothold keeps values for its exit code.
 */
export const AREA = {
  code: PAGE_SIZE,
  entries: 64 * 1024,
  heap: 64 * 1024 - 64,
  length: PAGE_SIZE + 128 * 1024,
} as const;

const ENTRY = 64;
const MAX_CALLS = AREA.entries / ENTRY - 1;
const FLAG_TOLERATE = 0x40;
/** The entry is no system call; its number says what it is ({@link SPECIAL}). */
const FLAG_SPECIAL = 0x80;
const FLAG_CALL = 0x100;
const END = 0xffff_ffff;
/** Sizes in bytes at first; small, since there is a program for each thread of a task. */
const FIRST = { entries: 2048, heap: 1024 } as const;
/** Most programs are never used, or have no heap. */
const NOTHING = new Uint8Array(0);
const NO_VIEW = new DataView(NOTHING.buffer);

export class Program {
  /** Address of the work area in the task. */
  readonly area: number;
  #entries = NOTHING;
  #view = NO_VIEW;
  #heap = NOTHING;
  #calls = 0;
  #used = 0;

  constructor(area: number) {
    this.area = area;
  }

  /** Calls made so far, and heap bytes used. */
  get calls(): number {
    return this.#calls;
  }
  get heapUsed(): number {
    return this.#used;
  }

  /** Address of the first entry. */
  get start(): number {
    return this.area + AREA.code;
  }

  get #heapStart(): number {
    return this.area + AREA.code + AREA.entries;
  }

  /** Whether this many more calls and heap bytes fit. */
  fits(calls: number, bytes = 0): boolean {
    return this.#calls + calls <= MAX_CALLS && this.#used + bytes + 16 * calls <= AREA.heap;
  }

  /** Adds a call; a failure ends the program. */
  call(name: SyscallName, ...args: readonly Argument[]): Ref {
    return this.#add(NR[name], args, 0);
  }

  /** Adds a call that may fail; its result is then -errno, and the program continues. */
  attempt(name: SyscallName, ...args: readonly Argument[]): Ref {
    return this.#add(NR[name], args, FLAG_TOLERATE);
  }

  /** Adds a call by number, for tools. */
  attemptNumber(nr: number, ...args: readonly Argument[]): Ref {
    return this.#add(nr, args, FLAG_TOLERATE);
  }

  /**
   * Asks the processor something, as its architecture can (on x86-64 by cpuid), unless `allowed` is 0. Returns the
   * address of the answer, 16 bytes.
   */
  askProcessor(question: number, detail: number, allowed: Argument): number {
    const out = this.space(16);
    this.#add(SPECIAL.processor, [question, detail, out, allowed], FLAG_SPECIAL);
    return out;
  }

  /** Ends the program here unless two values are equal. */
  expect(actual: Argument, expected: Argument): void {
    this.#add(SPECIAL.expect, [actual, expected], FLAG_SPECIAL);
  }

  /** Adds a call of machine code with up to three arguments. For seeds only, since it needs a stack. */
  run(code: number, a: Argument, b: Argument, c: Argument): Ref {
    return this.#add(0, [a, b, c, 0, 0, code], FLAG_CALL | FLAG_TOLERATE);
  }

  #add(nr: number, args: readonly Argument[], flags: number): Ref {
    if (this.#calls >= MAX_CALLS) throw tooLong();
    const at = this.#calls * ENTRY;
    this.#makeRoom(at + 2 * ENTRY);
    let marks = flags;
    const view = this.#view;
    for (let i = 0; i < args.length; i++) {
      const argument = args[i] as Argument; // i < length
      if (typeof argument === 'object') {
        marks |= 1 << i;
        const place = argument instanceof Ref ? this.start + argument.index * ENTRY + 56 : argument.address;
        setWord(view, at + 8 + 8 * i, place);
      } else if (argument !== 0) {
        setWord(view, at + 8 + 8 * i, argument); // everything is zero from the start
      }
    }
    view.setUint32(at, nr, true);
    view.setUint32(at + 4, marks, true);
    this.#calls++;
    view.setUint32(this.#calls * ENTRY, END, true);
    return new Ref(this.#calls - 1);
  }

  /**
   * Adds calls that many programs have: `build` adds them when there are none in `known` yet. They may use nothing but
   * what is at `place`, in this work area.
   */
  repeat(known: Map<string, Uint8Array>, place: number, build: () => void): void {
    const key = `${this.area} ${place}`;
    const entries = known.get(key);
    const at = this.#calls * ENTRY;
    if (!entries) {
      build();
      known.set(key, this.#entries.slice(at, this.#calls * ENTRY));
      return;
    }
    this.#calls += entries.length / ENTRY;
    if (this.#calls > MAX_CALLS) throw tooLong();
    this.#makeRoom(this.#calls * ENTRY + ENTRY);
    this.#entries.set(entries, at);
    this.#view.setUint32(this.#calls * ENTRY, END, true);
  }

  #makeRoom(size: number): void {
    if (size <= this.#entries.length) return;
    this.#entries = grown(this.#entries, Math.max(size, FIRST.entries));
    this.#view = new DataView(this.#entries.buffer);
  }

  /** Puts bytes on the heap. Returns their address in the task. */
  data(bytes: Uint8Array): number {
    const address = this.space(bytes.byteLength);
    this.#heap.set(bytes, address - this.#heapStart);
    return address;
  }

  /** Reserves zeroed heap bytes, 8-aligned. Returns their address. */
  space(size: number): number {
    const at = this.#used;
    const next = (at + size + 7) & ~7;
    if (next > AREA.heap) throw new StasisError({ kind: 'internal', reason: 'remote program needs too much heap' });
    this.#used = next;
    if (next > this.#heap.length) this.#heap = grown(this.#heap, Math.max(next, FIRST.heap));
    return this.#heapStart + at;
  }

  /** The bytes of the entry table that are in use, its end mark included. */
  usedEntries(): Uint8Array {
    return this.#entries.subarray(0, this.#calls * ENTRY + 8);
  }

  /** The bytes of the heap in use. */
  usedHeap(): Uint8Array {
    return this.#heap.subarray(0, this.#used);
  }

  /** After the run: the result of a call, which may be -errno for a call that was allowed to fail. */
  result(ref: Ref): number {
    return Number(this.#view.getBigInt64(ref.index * ENTRY + 56, true));
  }

  /** After the run: heap bytes at a task's address. */
  bytes(address: number, length: number): Uint8Array {
    const at = address - this.#heapStart;
    return this.#heap.subarray(at, at + length);
  }

  /** After the run: a view of heap bytes. */
  view(address: number, length: number): DataView {
    return new DataView(this.#heap.buffer, address - this.#heapStart, length);
  }

  /** The error for the entry at which the program stopped. `counter` is its address, `errno` positive. */
  failure(pid: HostPid, counter: number, errno: number): StasisError {
    const index = (counter - this.start) / ENTRY;
    const nr = this.#view.getUint32(index * ENTRY, true);
    const name = (Object.keys(NR) as SyscallName[]).find((key) => NR[key] === nr) ?? `syscall ${nr}`;
    const args = Array.from({ length: 6 }, (_, i) => this.#view.getBigUint64(index * ENTRY + 8 + 8 * i, true));
    return new RemoteCallError(pid, name, index, errno, args);
  }
}

function tooLong(): StasisError {
  return new StasisError({ kind: 'internal', reason: 'remote program too long' });
}

/** A larger copy, with room for `needed` bytes and more to come. */
function grown(bytes: Uint8Array<ArrayBuffer>, needed: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.max(needed, 2 * bytes.length));
  larger.set(bytes);
  return larger;
}

/** Stores a word. Most words are numbers, and converting each to a bigint would take longer than everything else. */
function setWord(view: DataView, at: number, value: Word): void {
  if (typeof value === 'bigint') {
    view.setBigInt64(at, value, true);
    return;
  }
  view.setUint32(at, value, true);
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** A system call that failed inside another task. */
export class RemoteCallError extends StasisError {
  readonly errno: number;
  readonly call: string;
  readonly index: number;

  constructor(pid: HostPid, call: string, index: number, errno: number, args: readonly bigint[]) {
    const shown = args.map((a) => `0x${a.toString(16)}`).join(', ');
    super({
      kind: 'kernel',
      task: { pid },
      resource: `${call}(${shown})`,
      reason: `${describeErrno(errno)} (remote call ${index})`,
    });
    this.name = 'RemoteCallError';
    this.errno = errno;
    this.call = call;
    this.index = index;
  }
}
