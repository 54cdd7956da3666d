/**
 * The one place where JavaScript meets machine code: libc's `syscall(2)` and its errno, through bun:ffi under Bun
 * and through koffi under Node. Everything else in the project is built on these two functions.
 *
 * ptrace(2) wants all requests from one thread: calls here are synchronous and run on the runtime's main thread.
 */
/** An argument of a system call: a number, a pointer as a number, or a 64-bit value. */
export type Word = number | bigint;

type RawSyscall = (nr: number, a: Word, b: Word, c: Word, d: Word, e: Word, f: Word) => number | bigint;

interface Backend {
  readonly syscall: RawSyscall;
  readonly errno: () => number;
  readonly addressOf: (view: ArrayBufferView) => number;
}

/** What is used of bun:ffi, typed by hand: its own types do not know `i64_fast` for a symbol's result. */
interface BunFfi {
  dlopen(
    library: string,
    symbols: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: { syscall: RawSyscall; __errno_location: () => number } };
  ptr(view: ArrayBufferView): number;
  read: { i32(pointer: number, offset: number): number };
}

async function bunBackend(): Promise<Backend> {
  const { dlopen, ptr, read } = (await import('bun:ffi')) as unknown as BunFfi;
  const { symbols } = dlopen('libc.so.6', {
    syscall: { args: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], returns: 'i64_fast' },
    __errno_location: { args: [], returns: 'ptr' },
  });
  const errnoAt = symbols.__errno_location();
  return { syscall: symbols.syscall, errno: () => read.i32(errnoAt, 0), addressOf: ptr };
}

/** The few functions of koffi that are used; the package is an optional peer, absent from the compiled executable. */
interface Koffi {
  load(path: string): { func(prototype: string): (...args: unknown[]) => unknown };
  errno(): number;
  address(view: ArrayBufferView): bigint;
}

async function nodeBackend(): Promise<Backend> {
  const koffi = ((await import('koffi')) as unknown as { default: Koffi }).default;
  const syscall = koffi.load('libc.so.6').func('long syscall(long, long, long, long, long, long, long)');
  return {
    syscall: syscall as RawSyscall,
    errno: () => koffi.errno(),
    addressOf: (view) => Number(koffi.address(view)),
  };
}

const backend = await (process.versions.bun ? bunBackend() : nodeBackend());

/**
 * One system call, as the kernel answers it: a value ≥ 0 or -errno.
 * Results above 2^53 (there are none but addresses of no use to us) would lose their low bits.
 */
export function rawSyscall(nr: number, a: Word, b: Word, c: Word, d: Word, e: Word, f: Word): number {
  const result = backend.syscall(nr, a, b, c, d, e, f);
  return result === -1 || result === -1n ? -backend.errno() : Number(result);
}

/** How many buffers stay alive after their address was asked for: more than any one system call has structs. */
const KEPT = 64;
const kept: ArrayBufferView[] = [];
let next = 0;

/**
 * The address of a buffer's first byte. Once only the address is left of a buffer, the garbage collector may free it
 * under the kernel's hands (seen: an iovec of a restore, so that pages went astray). So the latest are held here, which
 * covers structs filled, called with and forgotten; a buffer that must live longer is held by its owner.
 */
export function addressOf(view: ArrayBufferView): number {
  kept[next] = view;
  next = (next + 1) % KEPT;
  return backend.addressOf(view);
}
