/** `--status-fd`: whoever has started a server learns by a descriptor that it can be connected with. */
import { writeAll } from '../kernel/files.ts';
import { trySyscall } from '../kernel/syscall.ts';

/** Writes the one byte that says so, and closes the descriptor. @throws SyscallError if nobody can read it */
export function tellStatus(statusFd: number | undefined): void {
  if (statusFd === undefined) return;
  writeAll(statusFd, new Uint8Array(1));
  trySyscall('close', statusFd);
}
