/** The size of Stasis' own descriptor table. */
import { F } from './constants/files.ts';
import { trySyscall } from './syscall.ts';

/** With fewer descriptors than this, letting the table grow on its own is fast enough. */
const MANY = 200;

/**
 * Enlarges the table for `count` descriptors at once. Each time the table of a process with threads (the runtime has
 * some) doubles, the kernel waits for an RCU grace period (expand_fdtable() in fs/file.c).
 */
export function growTable(count: number): void {
  if (count < MANY) return;
  const high = trySyscall('fcntl', 0, F.DUPFD, count + 100);
  if (high >= 0) trySyscall('close', high);
}
