/** Terminal ioctls on Stasis' own descriptors. */
import type { LocalFd } from '../../../base/brands.ts';
import { SIG, SIG_HOW, SIGSET_SIZE, signalBit } from '../../../kernel/constants/signals.ts';
import { TTY_IOCTL } from '../../../kernel/constants/tty.ts';
import type { Struct } from '../../../kernel/layouts/struct.ts';
import { arena, arenaAddress, arenaView, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';

/** A terminal ioctl by name. */
export type TtyRequest = keyof typeof TTY_IOCTL;

/** Reads an int; -errno if the kernel refuses. The ints of terminals are never negative. */
export function tryGetInt(local: LocalFd, request: TtyRequest): number {
  arenaView.setInt32(0, 0, true);
  const result = trySyscall('ioctl', local, TTY_IOCTL[request], arenaAddress);
  return result < 0 ? result : arenaView.getInt32(0, true);
}

/** Passes an int by address. @throws SyscallError */
export function setInt(local: LocalFd, request: TtyRequest, value: number): void {
  const result = trySetInt(local, request, value);
  if (result < 0) throw new SyscallError('ioctl', -result, { resource: `${request} on a terminal` });
}

/** Passes an int by address. Returns 0 or -errno. */
export function trySetInt(local: LocalFd, request: TtyRequest, value: number): number {
  arenaView.setInt32(0, value, true);
  return trySyscall('ioctl', local, TTY_IOCTL[request], arenaAddress);
}

/** Reads a struct. @throws SyscallError */
export function getStruct<T>(local: LocalFd, request: TtyRequest, layout: Struct<T>): T {
  arena.fill(0, 0, layout.size);
  const result = trySyscall('ioctl', local, TTY_IOCTL[request], arenaAddress);
  if (result < 0) throw new SyscallError('ioctl', -result, { resource: `${request} on a terminal` });
  return layout.decode(arena);
}

/** Passes a struct. Returns 0 or -errno. */
export function trySetStruct<T>(local: LocalFd, request: TtyRequest, layout: Struct<T>, value: T): number {
  layout.encodeInto(arena, 0, value);
  return trySyscall('ioctl', local, TTY_IOCTL[request], arenaAddress);
}

/** Passes a struct. @throws SyscallError */
export function setStruct<T>(local: LocalFd, request: TtyRequest, layout: Struct<T>, value: T): void {
  const result = trySetStruct(local, request, layout, value);
  if (result < 0) throw new SyscallError('ioctl', -result, { resource: `${request} on a terminal` });
}

/**
 * Calls `work` with SIGTTOU blocked, which would stop a background job that changes its terminal
 * (`tty_check_change()`).
 */
export function inBackground<T>(work: () => T): T {
  const old = maskSignals(SIG_HOW.BLOCK, signalBit(SIG.TTOU));
  try {
    return work();
  } finally {
    maskSignals(SIG_HOW.SETMASK, old);
  }
}

function maskSignals(how: number, mask: bigint): bigint {
  arenaView.setBigUint64(0, mask, true);
  syscall('rt_sigprocmask', how, arenaAddress, arenaAddress + 8, SIGSET_SIZE);
  return arenaView.getBigUint64(8, true);
}
