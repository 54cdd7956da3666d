/**
 * Since when a task has been asleep in a system call.
 *
 * A call that is interrupted and restarted by the kernel (nanosleep, poll, futex with a timeout) keeps its deadline in
 * the task's restart block, which nothing outside the kernel can read. What can be read, while the task still sleeps, is
 * when it last left the CPU (`se.exec_start` in /proc/PID/sched, on the clock of that CPU's run queue): the moment the
 * call began. Our own exec_start, read on the same CPU just after we got onto it, is the same clock's "now".
 */

import { readProcIfAny } from '../kernel/proc/read.ts';
import { parseSyscall } from '../kernel/proc/values.ts';
import { arena, arenaAddress, trySyscall } from '../kernel/syscall.ts';
import type { Sleep } from '../kinds/contract.ts';

const CPU_BYTES = 128;

/** What a task sleeps in, or nothing if it runs, or the kernel does not tell. `cpu` is where it last ran. */
export function observeSleep(pid: number, cpu: number): Sleep | undefined {
  const bytes = readProcIfAny(pid, 'syscall');
  const state = bytes && parseSyscall(bytes);
  if (state?.kind !== 'inside') return undefined;
  const theirs = execStart(pid);
  const ours = theirs === undefined ? undefined : onCpu(cpu, () => execStart('self'));
  if (theirs === undefined || ours === undefined || ours < theirs) return undefined;
  return { nr: state.nr, args: state.args, since: performance.now() - (ours - theirs) };
}

/** Milliseconds on the run queue's clock; undefined without CONFIG_SCHED_DEBUG. */
function execStart(pid: number | 'self'): number | undefined {
  const bytes = readProcIfAny(pid, 'sched');
  const match = bytes && /^se\.exec_start\s*:\s*([0-9.]+)/m.exec(Buffer.from(bytes).toString('latin1'));
  return match ? Number(match[1]) : undefined;
}

/** Does something on a certain CPU, then lets us run where we ran before. */
function onCpu<T>(cpu: number, work: () => T): T | undefined {
  const length = trySyscall('sched_getaffinity', 0, CPU_BYTES, arenaAddress);
  const mask = new Uint8Array(CPU_BYTES);
  mask[cpu >> 3] = 1 << (cpu & 7);
  if (length < 0 || cpu >= CPU_BYTES * 8) return undefined;
  const before = readArena(length);
  if (setAffinity(mask) < 0) return undefined;
  // exec_start is brought up to date when the scheduler is entered.
  trySyscall('sched_yield');
  const result = work();
  setAffinity(before);
  return result;
}

function readArena(length: number): Uint8Array {
  return arena.slice(0, length);
}

function setAffinity(mask: Uint8Array): number {
  arena.set(mask);
  return trySyscall('sched_setaffinity', 0, mask.length, arenaAddress);
}
