/**
 * When threads left their CPUs: `/proc/PID/sched` (kernel/sched/debug.c, needs CONFIG_SCHED_DEBUG) tells it on the
 * clock of a run queue. No call reads such a clock; our own exec_start, brought up to date on that CPU, is it.
 */
import { CLOCK } from '../../../kernel/constants/tasks.ts';
import { latin1 } from '../../../kernel/proc/common.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { arena, arenaAddress, trySyscall } from '../../../kernel/syscall.ts';

const CPU_BYTES = 128;

/** What a scheduler's file tells of a thread. */
export interface Sched {
  /** When it was last on its CPU: milliseconds on the run queue's clock. */
  readonly execStart: number;
  /** How often it has gone to sleep. */
  readonly switches: number;
}

/** Undefined where the kernel does not tell. @throws StasisError kind 'gone' */
export function readSched(tid: number | 'self'): Sched | undefined {
  const bytes = readProcIfAny(tid, 'sched');
  if (!bytes) return undefined;
  const text = latin1(bytes);
  const execStart = numberAfter(text, 'se.exec_start');
  const switches = numberAfter(text, 'nr_voluntary_switches');
  return execStart === undefined || switches === undefined ? undefined : { execStart, switches };
}

/** Lines are `key   :   value`. */
function numberAfter(text: string, key: string): number | undefined {
  const at = text.indexOf(`\n${key} `);
  if (at < 0) return undefined;
  const value = Number.parseFloat(text.slice(text.indexOf(':', at) + 1, text.indexOf('\n', at + 1)));
  return Number.isFinite(value) ? value : undefined;
}

/** Clocks of all CPUs, each looked at once, when first asked for. Afterwards we run where we ran before. */
export class RunQueueClocks implements Disposable {
  /** For each CPU, its clock's 0 on performance.now()'s clock. */
  readonly #origins = new Map<number, number | undefined>();
  #allowed: Uint8Array | undefined;

  /** When a thread left its CPU, on performance.now()'s clock; undefined where that cannot be told. */
  moment(tid: number, { execStart }: Sched): number | undefined {
    const cpu = processorOf(tid);
    if (cpu === undefined) return undefined;
    if (!this.#origins.has(cpu)) this.#origins.set(cpu, this.#originOf(cpu));
    const origin = this.#origins.get(cpu);
    return origin === undefined ? undefined : Math.min(origin + execStart, performance.now());
  }

  #originOf(cpu: number): number | undefined {
    this.#allowed ??= affinity();
    const mask = new Uint8Array(CPU_BYTES);
    if (!this.#allowed || cpu >= CPU_BYTES * 8) return undefined;
    mask[cpu >> 3] = 1 << (cpu & 7);
    if (setAffinity(mask) < 0) return undefined;
    // Reading its own CPU time brings a thread's exec_start up to date (task_sched_runtime()).
    trySyscall('clock_gettime', CLOCK.THREAD_CPUTIME_ID, arenaAddress);
    const at = performance.now();
    const ours = readSched('self');
    return ours && at - ours.execStart;
  }

  [Symbol.dispose](): void {
    if (this.#allowed) setAffinity(this.#allowed);
  }
}

/** The CPU a thread ran on last: the 39th field of its `stat`, of which only this is wanted. */
function processorOf(tid: number): number | undefined {
  // Not /proc/TID/stat, which adds up the times of all threads of the process.
  const bytes = readProcIfAny(tid, `task/${tid}/stat`);
  if (!bytes) return undefined;
  const line = latin1(bytes);
  return Number(line.slice(line.lastIndexOf(')') + 2).split(' ', 37)[36]);
}

function affinity(): Uint8Array | undefined {
  const length = trySyscall('sched_getaffinity', 0, CPU_BYTES, arenaAddress);
  return length < 0 ? undefined : arena.slice(0, length);
}

function setAffinity(mask: Uint8Array): number {
  arena.set(mask);
  return trySyscall('sched_setaffinity', 0, mask.length, arenaAddress);
}
