/**
 * Numbers for processes that may choose none: in a PID namespace that does not belong to their user namespace. Stasis
 * sets which number the kernel gives next.
 */
import type { HostPid } from '../base/brands.ts';
import { startCollector } from '../kernel/collector.ts';
import { SCHED } from '../kernel/constants/tasks.ts';
import { trySet } from '../kernel/files.ts';
import { readSystem } from '../kernel/proc/read.ts';
import { parseNumber } from '../kernel/proc/values.ts';
import { SyscallError, trySyscall } from '../kernel/syscall.ts';

/** The number that the kernel has given last in our PID namespace; the next one follows it. */
const LAST_PID = '/proc/sys/kernel/ns_last_pid';

/**
 * Calls `work`, in which `maker` makes a process or thread that is to get this number. Until then others may be given
 * it, and those that follow, which may be the tree's as well: so nobody else runs meanwhile, as far as is permitted.
 * @throws SyscallError if the number cannot be set, and whatever `work` throws
 */
export function withNextPid(pid: number, maker: HostPid, work: () => void): void {
  // A thread of our own that is made in between takes a number that the tree may need later, and keeps it.
  startCollector();
  const before = parseNumber(readSystem(LAST_PID), LAST_PID);
  using _ = new Undisturbed([0, maker]);
  const set = trySet(LAST_PID, String(pid - 1));
  if (set < 0) throw new SyscallError('write', -set, { resource: LAST_PID });
  try {
    work();
  } finally {
    trySet(LAST_PID, String(before));
  }
}

/** A time in which processes go before all others that are no real-time ones; not so those they make. */
class Undisturbed implements Disposable {
  readonly #pids: readonly number[];

  constructor(pids: readonly number[]) {
    const lowest = new Int32Array([1]);
    this.#pids = pids.filter((pid) => {
      const own = trySyscall('sched_getscheduler', pid);
      if ((own & ~SCHED.RESET_ON_FORK) !== SCHED.NORMAL) return false;
      return trySyscall('sched_setscheduler', pid, SCHED.FIFO | SCHED.RESET_ON_FORK, lowest) === 0;
    });
  }

  [Symbol.dispose](): void {
    for (const pid of this.#pids) trySyscall('sched_setscheduler', pid, SCHED.NORMAL, new Int32Array([0]));
  }
}
