/** A process in which probes run: traced, stopped, almost empty, and killed when the probe is over. */
import { borrow as borrowFrom, openPidfd } from '../../kernel/pidfd.ts';
import { Fd } from '../../kernel/syscall.ts';
import type { Program } from '../../tracee/program.ts';
import { Seed } from '../../tracee/seed.ts';

/** Address for mappings of a probe, below 4 GiB. */
export const PLAYGROUND = 0x2000_0000;

/** Calls `work` with a new process, and kills that afterwards. @throws StasisError when none can be made */
export function inThrowaway<T>(work: (seed: Seed) => T): T {
  using seed = Seed.anywhere();
  return work(seed);
}

/**
 * Runs a program in the process. Returns the program, which holds the results, and what `build` returned. @throws
 * RemoteCallError
 */
export function ask<T>(seed: Seed, build: (program: Program) => T): { program: Program; built: T } {
  return seed.remote.do(build);
}

/** Duplicates a descriptor of the throw-away process as one of ours. */
export function borrow(seed: Seed, fd: number): Fd {
  using pidfd = openPidfd(seed.tracee.pid);
  return new Fd(borrowFrom(pidfd, fd));
}
