/**
 * Finds out when threads left their CPUs. `/proc/PID/sched` (kernel/sched/debug.c, needs CONFIG_SCHED_DEBUG) shows it
 * on the clock of a run queue. No call reads such a clock, but our own exec_start, updated on that CPU, is its current
 * value.
 */
import type { HostPid } from '../../../base/brands.ts';
import { affinity, onlyCpu, setAffinity } from '../../../kernel/affinity.ts';
import { CLOCK } from '../../../kernel/constants/tasks.ts';
import { latin1 } from '../../../kernel/proc/common.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { arenaAddress, trySyscall } from '../../../kernel/syscall.ts';

/** The values of `/proc/PID/sched` that are used. */
export interface Sched {
  /** When the thread was last on its CPU, in milliseconds of the run queue's clock. */
  readonly execStart: number;
  /** How often the thread has gone to sleep. */
  readonly switches: number;
}

/** Reads the file of a thread; undefined where the kernel has none. @throws StasisError kind 'gone' */
export function readSched(tid: HostPid | 'self'): Sched | undefined {
  const bytes = readProcIfAny(tid, 'sched');
  if (!bytes) return undefined;
  const text = latin1(bytes);
  const execStart = numberAfter(text, 'se.exec_start');
  const switches = numberAfter(text, 'nr_voluntary_switches');
  return execStart === undefined || switches === undefined ? undefined : { execStart, switches };
}

/** The number in the line `key : value`. */
function numberAfter(text: string, key: string): number | undefined {
  const at = text.indexOf(`\n${key} `);
  if (at < 0) return undefined;
  const value = Number.parseFloat(text.slice(text.indexOf(':', at) + 1, text.indexOf('\n', at + 1)));
  return Number.isFinite(value) ? value : undefined;
}

/**
 * The run queue clocks of all CPUs, each read once when first needed, for which our thread moves to that CPU. At the
 * end of the scope our CPU affinity is restored.
 */
export class RunQueueClocks implements Disposable {
  /** For each CPU, the value of performance.now() at which its clock was 0. */
  readonly #origins = new Map<number, number | undefined>();
  #allowed: Uint8Array | undefined;

  /** When a thread left its CPU, in milliseconds of performance.now(); undefined where that cannot be found out. */
  moment(tid: HostPid, { execStart }: Sched): number | undefined {
    const cpu = processorOf(tid);
    if (cpu === undefined) return undefined;
    if (!this.#origins.has(cpu)) this.#origins.set(cpu, this.#originOf(cpu));
    const origin = this.#origins.get(cpu);
    return origin === undefined ? undefined : Math.min(origin + execStart, performance.now());
  }

  #originOf(cpu: number): number | undefined {
    this.#allowed ??= affinity();
    const mask = onlyCpu(cpu);
    if (!this.#allowed || !mask || setAffinity(mask) < 0) return undefined;
    // Reading a thread's own CPU time updates its exec_start (task_sched_runtime()).
    trySyscall('clock_gettime', CLOCK.THREAD_CPUTIME_ID, arenaAddress);
    const at = performance.now();
    const ours = readSched('self');
    return ours && at - ours.execStart;
  }

  [Symbol.dispose](): void {
    if (this.#allowed) setAffinity(this.#allowed);
  }
}

/** The CPU a thread ran on last: field 39 of its `stat`. */
function processorOf(tid: HostPid): number | undefined {
  // /proc/TID/stat is not used, since it adds up the times of all threads of the process.
  const bytes = readProcIfAny(tid, `task/${tid}/stat`);
  if (!bytes) return undefined;
  const line = latin1(bytes);
  return Number(line.slice(line.lastIndexOf(')') + 2).split(' ', 37)[36]);
}
