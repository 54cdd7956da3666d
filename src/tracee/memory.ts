/**
 * Reads and writes another task's memory: by process_vm_readv/writev(2), and through /proc/PID/mem where these may not.
 */

import type { HostPid, TaskAddress } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { Pins } from '../kernel/ffi.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, Fd, syscall, trySyscall } from '../kernel/syscall.ts';

function oneIovec(offset: number, address: number, length: number): number {
  arenaView.setBigUint64(offset, BigInt(address), true);
  arenaView.setBigUint64(offset + 8, BigInt(length), true);
  return arenaAddress + offset;
}

/**
 * Reads memory. Returns the number of bytes read, or -errno. It stops at pages that the task itself may not read
 * (EFAULT).
 */
export function tryReadMemory(pid: HostPid, address: TaskAddress, into: Uint8Array, length = into.byteLength): number {
  using pins = new Pins();
  const local = oneIovec(0, pins.address(into), length);
  return trySyscall('process_vm_readv', pid, local, 1, oneIovec(16, address, length), 1, 0);
}

/** Fills `into` from the task. @throws StasisError unless all of it can be read */
export function readMemory(pid: HostPid, address: TaskAddress, into: Uint8Array): Uint8Array {
  const got = tryReadMemory(pid, address, into);
  if (got !== into.byteLength) throw memoryError(pid, address, 'read', got);
  return into;
}

/** A piece of a task's memory. */
interface MemoryPart {
  readonly address: TaskAddress;
  readonly length: number;
}

/** Most parts that one call reads (IOV_MAX). */
const MOST_PARTS = 1024;

/** Reads many parts of memory by few calls. @throws StasisError unless all of them can be read */
export function readParts(pid: HostPid, parts: readonly MemoryPart[]): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let from = 0; from < parts.length; from += MOST_PARTS) {
    const lot = parts.slice(from, from + MOST_PARTS);
    const all = new Uint8Array(lot.reduce((sum, { length }) => sum + length, 0));
    using pins = new Pins();
    const remote = BigUint64Array.from(lot.flatMap(({ address, length }) => [BigInt(address), BigInt(length)]));
    const local = oneIovec(0, pins.address(all), all.length);
    const got = trySyscall('process_vm_readv', pid, local, 1, pins.address(remote), lot.length, 0);
    if (got !== all.length) throw memoryError(pid, lot[0]?.address ?? 0, 'read', got);
    for (let i = 0, at = 0; i < lot.length; i++) {
      const { length } = lot[i] as MemoryPart;
      found.push(all.subarray(at, at + length));
      at += length;
    }
  }
  return found;
}

/** Writes to pages that the task itself may write. @throws StasisError */
export function writeMemory(pid: HostPid, address: TaskAddress, from: Uint8Array): void {
  using pins = new Pins();
  const local = oneIovec(0, pins.address(from), from.byteLength);
  const got = trySyscall('process_vm_writev', pid, local, 1, oneIovec(16, address, from.byteLength), 1, 0);
  if (got !== from.byteLength) throw memoryError(pid, address, 'write', got);
}

function memoryError(pid: HostPid, address: TaskAddress, what: string, got: number): StasisError {
  return new StasisError({
    kind: got === -ERRNO.ESRCH ? 'gone' : 'kernel',
    task: { pid },
    resource: `memory at 0x${address.toString(16)}`,
    reason: `could not ${what} all of it (${got})`,
  });
}

/** Opens /proc/PID/mem: reads and writes whatever the protection (FOLL_FORCE), for those who may trace the task. */
export function openMemory(pid: HostPid): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath(`/proc/${pid}/mem`), O.RDWR | O.CLOEXEC));
}

/** Writes through /proc/PID/mem; a private page is copied first, so that no file and no other task sees it. */
export function forceWrite(mem: Fd, address: TaskAddress, from: Uint8Array): void {
  const got = trySyscall('pwrite64', mem.number, from, from.byteLength, address);
  if (got !== from.byteLength) {
    throw new StasisError({ kind: 'kernel', resource: `memory at 0x${address.toString(16)}`, reason: `write: ${got}` });
  }
}

/** Reads through /proc/PID/mem. Returns the number of bytes read, or -errno. */
export function forceRead(mem: Fd, address: TaskAddress, into: Uint8Array, length = into.byteLength): number {
  return trySyscall('pread64', mem.number, into, length, address);
}
