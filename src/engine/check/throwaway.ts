/** A process in which probes run: traced, stopped, almost empty, and killed when the probe is over. */
import { StasisError } from '../../base/errors.ts';
import { readSystem } from '../../kernel/proc/read.ts';
import { Fd, syscall } from '../../kernel/syscall.ts';
import type { Program } from '../../tracee/program.ts';
import { Seed } from '../../tracee/seed.ts';

/** Address of the work area: between the page of the seed and the kernel's mappings (stack, vdso). */
const AREA = 0x1000_0000;
/** Address for mappings of a probe, below 4 GiB. */
export const PLAYGROUND = 0x2000_0000;
const ATTEMPTS = 64;

/** Calls `work` with a new process, and kills that afterwards. @throws StasisError when none can be made */
export function inThrowaway<T>(work: (seed: Seed) => T): T {
  using seed = createSeed();
  return work(seed);
}

/**
 * Runs a program in the process. Returns the program, which holds the results, and what `build` returned. @throws
 * RemoteCallError
 */
export function ask<T>(seed: Seed, build: (program: Program) => T): { program: Program; built: T } {
  return seed.remote.do(build);
}

/** Duplicates a descriptor of the throw-away process as one of ours (pidfd_getfd(2)). */
export function borrow(seed: Seed, fd: number): Fd {
  using pidfd = new Fd(syscall('pidfd_open', seed.tracee.pid, 0));
  return new Fd(syscall('pidfd_getfd', pidfd.number, fd, 0));
}

/** Makes the process. Its PID does not matter: those that the kernel would choose next are tried until one is free. */
function createSeed(): Seed {
  const last = lastPid();
  for (let attempt = 1; ; attempt++) {
    try {
      return Seed.create({ pid: last + attempt, sibling: false, taken: new Set() }, AREA);
    } catch (error) {
      const taken = error instanceof StasisError && error.kind === 'conflict';
      if (!taken || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * The last PID assigned in our PID namespace: the fifth word of /proc/loadavg. Near the end of the range a low PID
 * instead.
 */
function lastPid(): number {
  const last = Number(Buffer.from(readSystem('/proc/loadavg')).toString('latin1').split(' ')[4]);
  const max = Number(Buffer.from(readSystem('/proc/sys/kernel/pid_max')).toString('latin1'));
  return last + 2 * ATTEMPTS < max ? last : 300;
}
