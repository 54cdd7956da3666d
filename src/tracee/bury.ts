/** Kills processes that Stasis has made, so that nothing of them is left. */
import type { HostPid } from '../base/brands.ts';
import { threadsOf } from '../kernel/proc/tree.ts';
import { awaitEnds, killTracee } from './ptrace.ts';

/**
 * Kills a seed, or the process of a thread, and frees its PID. Its threads are traced, so Stasis has to reap them
 * first: before that the kernel does not report the end of the process (`delay_group_leader()` in kernel/exit.c).
 */
export function bury(pid: HostPid): void {
  killTracee(pid);
  const [leader = pid, ...others] = threadsOf(pid);
  awaitEnds([...others, leader]);
}
