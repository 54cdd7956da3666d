/** Sockets without a peer that nothing can be received from, or sent to, any more. */
import type { LocalFd } from '../../../base/brands.ts';
import { ERRNO, SyscallError, trySyscall } from '../../../kernel/syscall.ts';

/** Shuts a socket down that has no peer: the kernel does so, and yet answers ENOTCONN. @throws SyscallError */
export function shutDownAlone(local: LocalFd, how: number): void {
  const result = trySyscall('shutdown', local, how);
  if (result < 0 && result !== -ERRNO.ENOTCONN) throw new SyscallError('shutdown', -result);
}
