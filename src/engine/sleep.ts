/**
 * What a task sleeps in, since when and for how long.
 *
 * A call that is interrupted and restarted by the kernel (nanosleep, poll, futex with a timeout) keeps its deadline in
 * the task's restart block, which nothing outside the kernel can read. What can be read, while the task still sleeps:
 * /proc/timer_list, where its timer is one among others, without a name; it is the one that is gone after the freeze. And
 * when the task last left the CPU (`se.exec_start` in /proc/PID/sched, on the clock of that CPU's run queue): the moment
 * it fell asleep. Our own exec_start, read on the same CPU just after we got onto it, is the same clock's "now".
 */
import { NR } from '../kernel/nr.ts';
import { latin1 } from '../kernel/proc/common.ts';
import { readProcIfAny } from '../kernel/proc/read.ts';
import { readTimerList, type TimerList } from '../kernel/proc/timer-list.ts';
import { parseSyscall } from '../kernel/proc/values.ts';
import { arena, arenaAddress, arenaView, trySyscall } from '../kernel/syscall.ts';
import { callBehind, needsTimer, timedCall } from '../kernel/timed-calls.ts';
import type { Sleep } from '../kinds/contract.ts';

const CPU_BYTES = 128;

/** Lets a frozen task go on while `look` is running, and freezes it again. */
export type LetGo = (look: () => void) => void;

/**
 * Looks what a task sleeps in, shortly before it is frozen; `cpu` is where it last ran. The function it answers is to be
 * called just after the freeze, and says what was found; nothing if the task ran, or the kernel does not tell.
 */
export function observeSleep(pid: number, cpu: number): (letGo: LetGo) => Sleep | undefined {
  const bytes = readProcIfAny(pid, 'syscall');
  const state = bytes && parseSyscall(bytes);
  if (state?.kind !== 'inside') return () => undefined;
  const { nr, args } = state;
  const wchan = latin1(readProcIfAny(pid, 'wchan') ?? new Uint8Array());
  const seen = { nr, args, wchan, since: undefined, gone: [] };
  const restarted = nr === NR.restart_syscall;
  const call = restarted ? callBehind(wchan, args) : timedCall(nr, args);
  if (!call || call.repeatable) return () => seen;
  const stopped = wchan === 'do_signal_stop';
  // Where the kernel itself tells the rest, the way to another CPU and back is spared.
  const since = stopped || needsTimer(call) ? asleepSince(pid, cpu) : undefined;
  if (stopped || !needsTimer(call)) return () => ({ ...seen, since });
  const before = timersNow();
  return (letGo) => ({ ...seen, since, gone: restarted ? ownTimer(before, letGo) : timersGone(before) });
}

/** The kernel lets go of its lock between any two timers, and may miss one when others come and go: two looks see all. */
function timersNow(): TimerList | undefined {
  const first = readTimerList();
  const second = first && readTimerList();
  return second && { now: second.now, deadlines: new Set([...first.deadlines, ...second.deadlines]) };
}

/** Time left of the timers that are gone since the first list: the task's, and those of tasks woken in the same moment. */
function timersGone(before: TimerList | undefined): bigint[] {
  const after = before && timersNow();
  return after ? missing(before.deadlines, after).map((deadline) => deadline - after.now) : [];
}

/**
 * The same, but the task's only: when it may go on for a moment, the kernel sets its timer again, to the same nanosecond.
 */
function ownTimer(before: TimerList | undefined, letGo: LetGo): bigint[] {
  let after = before && timersNow();
  for (let round = 0; before && after && round < ROUNDS; round++) {
    const gone = missing(before.deadlines, after);
    let back: bigint[] = [];
    letGo(() => {
      back = backAgain(gone);
    });
    after = timersNow();
    const [own, ...others] = after ? missing(back, after) : [];
    if (after && own !== undefined && others.length === 0) return [own - after.now];
  }
  return [];
}

const ROUNDS = 3;

function missing(deadlines: Iterable<bigint>, from: TimerList): bigint[] {
  return [...deadlines].filter((deadline) => deadline > from.now && !from.deadlines.has(deadline));
}

/** Nanoseconds. */
const PAUSE = 100_000n;
const LONGEST_WAIT = 10_000_000n;

/** Waits until some of the timers are there again. */
function backAgain(gone: readonly bigint[]): bigint[] {
  for (let waited = 0n; waited < LONGEST_WAIT; waited += PAUSE) {
    const list = readTimerList();
    const back = gone.filter((deadline) => list?.deadlines.has(deadline));
    if (back.length > 0) return back;
    arenaView.setBigInt64(0, 0n, true);
    arenaView.setBigInt64(8, PAUSE, true);
    trySyscall('nanosleep', arenaAddress, 0);
  }
  return [];
}

function asleepSince(pid: number, cpu: number): number | undefined {
  const theirs = execStart(pid);
  const ours = theirs === undefined ? undefined : onCpu(cpu, () => execStart('self'));
  if (theirs === undefined || ours === undefined || ours < theirs) return undefined;
  return performance.now() - (ours - theirs);
}

/** Milliseconds on the run queue's clock; undefined without CONFIG_SCHED_DEBUG. */
function execStart(pid: number | 'self'): number | undefined {
  const bytes = readProcIfAny(pid, 'sched');
  const match = bytes && /^se\.exec_start\s*:\s*([0-9.]+)/m.exec(latin1(bytes));
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
