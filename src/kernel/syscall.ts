/** Local system calls with typed errors, and a small arena for the structs they take. */

import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import type { LocalFd } from '../base/brands.ts';
import { StasisError, type TaskRef } from '../base/errors.ts';
import { putText } from '../base/text.ts';
import { ERRNO } from './constants/errno.ts';
import { describeErrno, errnoName } from './errno.ts';
import { type LocalArgument, PinnedBuffer, rawSyscall } from './ffi.ts';

export { describeErrno, ERRNO };

/** A system call that failed; `errno` is positive. */
export class SyscallError extends StasisError {
  readonly errno: number;
  readonly call: SyscallName;

  constructor(call: SyscallName, errno: number, facts: { task?: TaskRef; resource?: string; remedy?: string } = {}) {
    super({ kind: errno === ERRNO.ESRCH ? 'gone' : 'kernel', reason: `${call}: ${describeErrno(errno)}`, ...facts });
    this.name = 'SyscallError';
    this.errno = errno;
    this.call = call;
  }

  /** As the kernel's headers name it: `ENOENT`. */
  get errnoName(): string {
    return errnoName(this.errno);
  }
}

/** Makes a system call. Returns its value, or -errno. */
export function trySyscall(
  name: SyscallName,
  a: LocalArgument = 0,
  b: LocalArgument = 0,
  c: LocalArgument = 0,
  d: LocalArgument = 0,
  e: LocalArgument = 0,
  f: LocalArgument = 0,
): number {
  return rawSyscall(NR[name], a, b, c, d, e, f);
}

/** Makes a system call and returns its value. @throws SyscallError when it fails */
export function syscall(
  name: SyscallName,
  a: LocalArgument = 0,
  b: LocalArgument = 0,
  c: LocalArgument = 0,
  d: LocalArgument = 0,
  e: LocalArgument = 0,
  f: LocalArgument = 0,
): number {
  const result = rawSyscall(NR[name], a, b, c, d, e, f);
  if (result < 0) throw new SyscallError(name, -result);
  return result;
}

/**
 * Makes a system call that puts back what we have changed of ourselves, or ends what is to end: as long as it has not
 * succeeded nothing else can, so it is tried again twice. @throws SyscallError when it fails three times
 */
export function insist(name: SyscallName, ...args: readonly LocalArgument[]): number {
  const [a, b, c, d, e, f] = args;
  for (let attempt = 1; attempt < 3; attempt++) {
    const result = trySyscall(name, a, b, c, d, e, f);
    if (result >= 0) return result;
  }
  return syscall(name, a, b, c, d, e, f);
}

/**
 * A reused block for small structs that are handed to the kernel. Its contents are valid until the next user: fill it,
 * make the call, read the result. One for the whole process is enough, since system calls are synchronous.
 */
export const { view: arena, address: arenaAddress } = new PinnedBuffer(new Uint8Array(64 * 1024));
/** A view of {@link arena}, whose address is always {@link arenaAddress}. */
export const arenaView = new DataView(arena.buffer);

/** More than PATH_MAX, so the kernel refuses a path that is cut off here as too long. */
const LONGEST_PATH = 8192;

/** Puts a NUL-terminated path at `offset` in the arena and answers its address. */
export function arenaPath(path: string, offset = 0): number {
  putText(path, arena.subarray(offset, offset + LONGEST_PATH));
  return arenaAddress + offset;
}

/** A descriptor of our own, closed when its scope ends. */
export class Fd implements Disposable {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  /** The descriptor number. */
  get number(): LocalFd {
    if (this.#number < 0) throw new StasisError({ kind: 'internal', reason: 'a closed descriptor was used' });
    return this.#number as LocalFd;
  }

  /** Hands the descriptor over to the caller: it is not closed at the end of the scope. */
  release(): LocalFd {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  [Symbol.dispose](): void {
    if (this.#number >= 0) trySyscall('close', this.#number);
    this.#number = -1;
  }
}
