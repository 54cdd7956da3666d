/**
 * The only file that uses FFI: libc's `syscall(2)` and its errno, and functions in machine code of our own, through
 * bun:ffi under Bun and through koffi under Node. Everything else in the project is built on these.
 *
 * ptrace(2) takes all requests for a tracee from one thread, so calls are synchronous and run on the runtime's main
 * thread.
 *
 * The garbage collector does not follow addresses. When only the address of a buffer is left, it may free the buffer
 * while the kernel still uses it (this happened with an iovec of a restore, and pages went to the wrong place). So no
 * function returns the bare address of a buffer. A buffer goes to the kernel in one of three ways:
 *
 * - as the argument of a system call, in place of its address;
 * - by {@link Pins}, if a struct points to it;
 * - as a {@link PinnedBuffer}, if it is used for longer than a scope.
 */
import type { LocalAddress, LocalNumber } from '../base/brands.ts';

/** A number, an address as a number, or a 64-bit value. */
export type Word = number | bigint;

/** An argument of a system call. For a buffer the kernel gets the address of its first byte; 0 if it is empty. */
export type LocalArgument = LocalNumber | bigint | ArrayBufferView;

type NativeFunction = (a: Word, b: Word, c: Word) => number | bigint;

type RawSyscall = (nr: number, a: Word, b: Word, c: Word, d: Word, e: Word, f: Word) => number | bigint;

interface Backend {
  readonly syscall: RawSyscall;
  readonly errno: () => number;
  readonly addressOf: (view: ArrayBufferView) => number;
  readonly functionAt: (address: number) => NativeFunction;
}

/** The part of bun:ffi that is used. Its own types do not allow `i64_fast` as the result of a symbol. */
interface BunFfi {
  dlopen(
    library: string,
    symbols: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: { syscall: RawSyscall; __errno_location: () => number } };
  CFunction(what: { ptr: number; args: readonly string[]; returns: string }): NativeFunction;
  ptr(view: ArrayBufferView): number;
  read: { i32(pointer: number, offset: number): number };
}

function bunBackend(): Backend {
  const { CFunction, dlopen, ptr, read } = require('bun:ffi') as BunFfi;
  const { symbols } = dlopen('libc.so.6', {
    syscall: { args: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], returns: 'i64_fast' },
    __errno_location: { args: [], returns: 'ptr' },
  });
  const errnoAt = symbols.__errno_location();
  return {
    syscall: symbols.syscall,
    errno: () => read.i32(errnoAt, 0),
    addressOf: ptr,
    functionAt: (address) => CFunction({ ptr: address, args: ['i64', 'i64', 'i64'], returns: 'i64_fast' }),
  };
}

/** The part of koffi that is used. The compiled executable does not contain the package. */
interface Koffi {
  load(path: string): { func(prototype: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(view: ArrayBufferView): bigint;
  proto(prototype: string): unknown;
  decode(address: number, type: unknown): NativeFunction;
}

function nodeBackend(): Backend {
  const { createRequire } = process.getBuiltinModule('node:module');
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const syscall = koffi.load('libc.so.6').func('long syscall(long, long, long, long, long, long, long)');
  return {
    syscall: syscall as RawSyscall,
    errno: () => koffi.errno(),
    addressOf: (view) => Number(koffi.address(view)),
    functionAt: (address) => koffi.decode(address, koffi.proto('long (long, long, long)')),
  };
}

// Without `await`: a module that waits while it is loaded cannot be loaded on demand (base/on-demand.ts).
const backend = process.versions.bun ? bunBackend() : nodeBackend();

/** A function of ours in machine code, `long f(long, long, long)`, to be called from here. */
export function functionAt(address: number): (a: number, b: number, c: number) => number {
  const native = backend.functionAt(address);
  return (a, b, c) => Number(native(a, b, c));
}

/** The buffers among the arguments of the current call, by position. This array keeps them alive during the call. */
const latest: ArrayBufferView[] = [];

/**
 * The address of a buffer's first byte; 0 for an empty buffer, whose address Bun refuses to give. A buffer may move
 * when its `buffer` is first asked for (JSC keeps small arrays in its own heap until then), so a lasting address is
 * only known after that.
 */
function addressOf(view: ArrayBufferView): number {
  return view.byteLength === 0 ? 0 : backend.addressOf(view);
}

function toWord(place: number, argument: ArrayBufferView): Word {
  latest[place] = argument;
  return addressOf(argument);
}

/**
 * Makes one system call and returns its result: a value ≥ 0 or -errno. Results above 2^53 would lose their low bits;
 * only addresses that Stasis does not use are that large.
 */
export function rawSyscall(
  nr: number,
  a: LocalArgument,
  b: LocalArgument,
  c: LocalArgument,
  d: LocalArgument,
  e: LocalArgument,
  f: LocalArgument,
): number {
  const result = backend.syscall(
    nr,
    typeof a === 'object' ? toWord(0, a) : a,
    typeof b === 'object' ? toWord(1, b) : b,
    typeof c === 'object' ? toWord(2, c) : c,
    typeof d === 'object' ? toWord(3, d) : d,
    typeof e === 'object' ? toWord(4, e) : e,
    typeof f === 'object' ? toWord(5, f) : f,
  );
  return result === -1 || result === -1n ? -backend.errno() : Number(result);
}

/** Keeps pinned buffers alive, also those of an owner that was never disposed of. */
const pinned = new Set<object>();

/**
 * Addresses that are valid until the scope ends, for structs that point to other buffers.
 *
 * ```ts
 * using pins = new Pins();
 * const iovec = new BigUint64Array([BigInt(pins.address(bytes)), BigInt(bytes.length)]);
 * syscall('writev', fd, iovec, 1);
 * ```
 */
export class Pins implements Disposable {
  readonly #views: ArrayBufferView[] = [];

  constructor() {
    pinned.add(this);
  }

  /** The address of a buffer's first byte, where the buffer stays until the scope ends; 0 if it is empty. */
  address(view: ArrayBufferView): LocalAddress {
    void view.buffer; // from here on it does not move
    this.#views.push(view);
    return addressOf(view) as LocalAddress;
  }

  [Symbol.dispose](): void {
    pinned.delete(this);
    this.#views.length = 0;
  }
}

/** A buffer that is handed to the kernel repeatedly. Its address is valid until it is disposed of. */
export class PinnedBuffer<View extends ArrayBufferView = Uint8Array<ArrayBuffer>> implements Disposable {
  readonly view: View;
  /** The address of its first byte. */
  readonly address: LocalAddress;

  constructor(view: View) {
    void view.buffer; // from here on it does not move
    this.view = view;
    this.address = addressOf(view) as LocalAddress;
    pinned.add(this);
  }

  [Symbol.dispose](): void {
    pinned.delete(this);
  }
}
