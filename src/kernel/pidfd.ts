/** Descriptors of other processes as ours: pidfd_getfd(2) duplicates one, with the same open file description. */
import { type LocalFd, localFd } from '../base/brands.ts';
import { Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** A descriptor for a living process. @throws SyscallError */
export function openPidfd(pid: number): Fd {
  return new Fd(syscall('pidfd_open', pid, 0));
}

/** Duplicates descriptor `fd` of the process behind `pidfd`. Returns the duplicate or -errno. */
export function tryBorrow(pidfd: Fd, fd: number): number {
  return trySyscall('pidfd_getfd', pidfd.number, fd, 0);
}

/** As {@link tryBorrow}. @throws SyscallError */
export function borrow(pidfd: Fd, fd: number): LocalFd {
  const got = tryBorrow(pidfd, fd);
  if (got < 0) throw new SyscallError('pidfd_getfd', -got);
  return localFd(got);
}
