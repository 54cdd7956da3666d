/**
 * userfaultfd(2) as a means to bring pages when they are needed: in registered ranges, whoever touches a page that is
 * not there waits until somebody who has the descriptor puts one there (UFFDIO_COPY). What happens to the ranges
 * meanwhile (fork, mremap, munmap, madvise) is told as well, and whoever does it waits until that is read.
 */
import type { LocalAddress, LocalFd } from '../base/brands.ts';
import { O } from './constants/files.ts';
import {
  UFFD_API,
  UFFD_EVENT,
  UFFD_FEATURE,
  UFFD_PAGEFAULT_FLAG_WRITE,
  UFFDIO_API,
  UFFDIO_COPY,
  UFFDIO_POISON,
  UFFDIO_REGISTER,
  UFFDIO_REGISTER_MODE_MISSING,
  UFFDIO_WAKE,
  UFFDIO_ZEROPAGE,
} from './constants/memory.ts';
import { UffdioApi, UffdioCopy, UffdioRegister, UffdioZeropage, UffdMsg } from './layouts/memory.ts';
import { arena, arenaAddress, Fd, trySyscall } from './syscall.ts';

/** Events without which nobody could tell where a page belongs after a while. */
const EVENTS =
  UFFD_FEATURE.EVENT_FORK | UFFD_FEATURE.EVENT_REMAP | UFFD_FEATURE.EVENT_REMOVE | UFFD_FEATURE.EVENT_UNMAP;

/** Prepares a new userfaultfd for bringing pages. Returns 0, or -errno: EPERM without CAP_SYS_PTRACE. */
export function tryBringPages(fd: LocalFd): number {
  UffdioApi.encodeInto(arena, 0, { api: UFFD_API, features: EVENTS, ioctls: 0n });
  return trySyscall('ioctl', fd, UFFDIO_API, arenaAddress);
}

/** Whether this kernel has all that, and we may use it. */
export function canBringPages(): boolean {
  const opened = trySyscall('userfaultfd', O.CLOEXEC);
  if (opened < 0) return false;
  using fd = new Fd(opened);
  return tryBringPages(fd.number) >= 0;
}

/** Registers a range, from which on missing pages are waited for. Returns 0, or -errno. */
export function tryRegisterMissing(fd: LocalFd, start: number, length: number): number {
  const range = { start: BigInt(start), length: BigInt(length), mode: UFFDIO_REGISTER_MODE_MISSING, ioctls: 0n };
  UffdioRegister.encodeInto(arena, 0, range);
  return trySyscall('ioctl', fd, UFFDIO_REGISTER, arenaAddress);
}

/** What came of a call that puts pages somewhere: how many bytes are done, and -errno if that is not all. */
export interface Placed {
  readonly done: number;
  readonly error: number;
}

/** Puts pages of ours into a range in which none are, and wakes who waits for them. */
export function placePages(fd: LocalFd, to: number, from: LocalAddress, length: number): Placed {
  UffdioCopy.encodeInto(arena, 0, { to: BigInt(to), from: BigInt(from), length: BigInt(length) });
  const result = trySyscall('ioctl', fd, UFFDIO_COPY, arenaAddress);
  return placed(result, Number(UffdioCopy.decode(arena).copied), length);
}

/** As {@link placePages}, with the kernel's page of zeros. */
export function placeZeros(fd: LocalFd, to: number, length: number): Placed {
  return placeNothing(fd, UFFDIO_ZEROPAGE, to, length);
}

/** Makes the missing pages of a range such that whoever touches them gets SIGBUS (since 6.6). */
export function placePoison(fd: LocalFd, to: number, length: number): Placed {
  return placeNothing(fd, UFFDIO_POISON, to, length);
}

function placeNothing(fd: LocalFd, request: number, to: number, length: number): Placed {
  UffdioZeropage.encodeInto(arena, 0, { start: BigInt(to), length: BigInt(length) });
  const result = trySyscall('ioctl', fd, request, arenaAddress);
  return placed(result, Number(UffdioZeropage.decode(arena).done), length);
}

/** The kernel tells an errno in place of the count where the first page failed. */
function placed(result: number, count: number, length: number): Placed {
  if (result >= 0) return { done: length, error: 0 };
  if (count > 0) return { done: count, error: result };
  return { done: 0, error: count < 0 ? count : result };
}

/** Has those who wait for pages of a range look again. */
export function wakeWaiting(fd: LocalFd, start: number, length: number): void {
  UffdioRegister.encodeInto(arena, 0, { start: BigInt(start), length: BigInt(length) });
  trySyscall('ioctl', fd, UFFDIO_WAKE, arenaAddress);
}

/** What a userfaultfd tells. */
export type UserfaultEvent =
  | { readonly type: 'fault'; readonly address: number; readonly isWrite: boolean }
  | { readonly type: 'fork'; readonly child: number }
  | { readonly type: 'remap'; readonly from: number; readonly to: number; readonly length: number }
  | { readonly type: 'remove'; readonly start: number; readonly length: number }
  | { readonly type: 'unmap'; readonly start: number; readonly length: number };

/** Events that are read at once. */
const AT_ONCE = 32;

/**
 * Reads what a userfaultfd tells, at most 32 events; none if there are none. A child's userfaultfd becomes a descriptor
 * of ours by that.
 */
export function readEvents(fd: LocalFd): UserfaultEvent[] {
  const got = trySyscall('read', fd, arenaAddress, AT_ONCE * UffdMsg.size);
  const events: UserfaultEvent[] = [];
  for (let at = 0; at + UffdMsg.size <= got; at += UffdMsg.size) {
    const event = eventOf(UffdMsg.decode(arena, at));
    if (event) events.push(event);
  }
  return events;
}

function eventOf({ event, words }: { event: number; words: readonly bigint[] }): UserfaultEvent | undefined {
  const [first = 0n, second = 0n, third = 0n] = words;
  switch (event) {
    case UFFD_EVENT.PAGEFAULT:
      return { type: 'fault', address: Number(second), isWrite: (first & UFFD_PAGEFAULT_FLAG_WRITE) !== 0n };
    case UFFD_EVENT.FORK:
      return { type: 'fork', child: Number(first & 0xffff_ffffn) };
    case UFFD_EVENT.REMAP:
      return { type: 'remap', from: Number(first), to: Number(second), length: Number(third) };
    case UFFD_EVENT.REMOVE:
      return { type: 'remove', start: Number(first), length: Number(second - first) };
    case UFFD_EVENT.UNMAP:
      return { type: 'unmap', start: Number(first), length: Number(second - first) };
    default:
      return undefined;
  }
}
