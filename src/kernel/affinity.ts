/** Which processors our thread may run on (sched_setaffinity(2)). */
import { arena, arenaAddress, trySyscall } from './syscall.ts';

/** Size of a mask, in bytes: more than any machine has processors. */
export const CPU_BYTES = 128;

/** The mask of our thread; undefined if the kernel does not tell. */
export function affinity(): Uint8Array | undefined {
  const length = trySyscall('sched_getaffinity', 0, CPU_BYTES, arenaAddress);
  return length < 0 ? undefined : arena.slice(0, length);
}

/** Returns 0, or -errno. */
export function setAffinity(mask: Uint8Array): number {
  arena.set(mask);
  return trySyscall('sched_setaffinity', 0, mask.length, arenaAddress);
}

/** The mask of one processor; undefined if its number is too large for one. */
export function onlyCpu(cpu: number): Uint8Array | undefined {
  if (cpu >= CPU_BYTES * 8) return undefined;
  const mask = new Uint8Array(CPU_BYTES);
  mask[cpu >> 3] = 1 << (cpu & 7);
  return mask;
}
