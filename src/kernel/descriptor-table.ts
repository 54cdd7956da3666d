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

/** Closes descriptors of ours: those that follow one another by one call. */
export function closeAll(numbers: number[]): void {
  numbers.sort((a, b) => a - b);
  for (let from = 0; from < numbers.length; ) {
    let to = from;
    while (numbers[to + 1] === (numbers[to] as number) + 1) to++;
    // Unknown to kernels before 5.9, and refused by some filters.
    const isClosed = to > from && trySyscall('close_range', numbers[from] as number, numbers[to] as number, 0) === 0;
    if (!isClosed) for (let i = from; i <= to; i++) trySyscall('close', numbers[i] as number);
    from = to + 1;
  }
}
