/** How much memory a dump stores with a task. Pure. */
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { isStoredWithTask } from '../own-pages.ts';

/**
 * From how many bytes of private memory on a task that goes on makes a copy of it: to make one and bury it takes about
 * as long as to store this much.
 */
export const WORTH_A_COPY = 16 << 20;

/** How many bytes of private memory tasks have: most of what a dump stores with them. */
export function privateBytes(vmas: readonly ProcVma[]): number {
  let bytes = 0;
  for (const vma of vmas) if (isStoredWithTask(vma)) bytes += (vma.anonymous ?? 0) + (vma.swap ?? 0);
  return bytes;
}
