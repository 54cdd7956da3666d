/** The size of our own descriptor table. */
import { trySyscall } from './syscall.ts';

/** Below this many descriptors the table grows fast enough by itself. */
const MANY = 200;
const F_DUPFD = 0;

/**
 * Makes room for so many descriptors at once: each time our table doubles, the kernel waits for an RCU grace period
 * (expand_fdtable() in fs/file.c), since the runtime has threads.
 */
export function growTable(count: number): void {
  if (count < MANY) return;
  const high = trySyscall('fcntl', 0, F_DUPFD, count + 100);
  if (high >= 0) trySyscall('close', high);
}
