/**
 * userfaultfd(2) as a means to notice writes: in ranges registered with UFFD_FEATURE_WP_ASYNC (since 6.7), PAGEMAP_SCAN
 * protects pages against writing, and the kernel lifts the protection of a page at the first write to it, without
 * telling anybody (`userfaultfd_wp_async()` in fs/userfaultfd.c).
 */
import type { LocalFd } from '../base/brands.ts';
import {
  UFFD_API,
  UFFD_FEATURE,
  UFFDIO_API,
  UFFDIO_REGISTER,
  UFFDIO_REGISTER_MODE_WP,
  UFFDIO_UNREGISTER,
} from './constants/memory.ts';
import { UffdioApi, UffdioRegister } from './layouts/memory.ts';
import { arena, arenaAddress, trySyscall } from './syscall.ts';

/** Prepares a new userfaultfd for noticing writes. Returns 0, or -errno where the kernel cannot do that. */
export function tryNoticeWrites(fd: LocalFd): number {
  UffdioApi.encodeInto(arena, 0, { api: UFFD_API, features: UFFD_FEATURE.WP_ASYNC, ioctls: 0n });
  return trySyscall('ioctl', fd, UFFDIO_API, arenaAddress);
}

/**
 * Registers a range of the address space that the userfaultfd was made in. Returns 0, or -errno: EBUSY where another
 * one watches, EINVAL where the kernel cannot watch, ESRCH when the address space is gone.
 */
export function tryRegister(fd: LocalFd, start: number, length: number): number {
  const range = { start: BigInt(start), length: BigInt(length), mode: UFFDIO_REGISTER_MODE_WP, ioctls: 0n };
  UffdioRegister.encodeInto(arena, 0, range);
  return trySyscall('ioctl', fd, UFFDIO_REGISTER, arenaAddress);
}

/**
 * The most bytes to unregister at once: the kernel holds the lock of the address space meanwhile, and all its threads
 * wait for that when they fault. 1 GiB of small pages takes 28 ms, 8 MiB half a millisecond.
 */
const SLICE = 8 << 20;

/** Gives a range up, slice by slice; errors (the range is gone) do not matter. */
export function unregister(fd: LocalFd, start: number, length: number): void {
  for (let done = 0; done < length; done += SLICE) {
    const range = { start: BigInt(start + done), length: BigInt(Math.min(SLICE, length - done)), mode: 0n, ioctls: 0n };
    UffdioRegister.encodeInto(arena, 0, range);
    trySyscall('ioctl', fd, UFFDIO_UNREGISTER, arenaAddress);
  }
}
