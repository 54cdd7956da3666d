/**
 * Finds out in which calls the threads of a tree sleep, since when and for how long.
 *
 * A call that is interrupted and restarted by the kernel (nanosleep, poll, futex with a timeout) keeps its deadline in
 * the thread's restart block, which nothing outside the kernel can read. Two things can be read while the thread still
 * sleeps. /proc/timer_list shows its timer among others, without a name, and does not show it any more after the
 * freeze. And `se.exec_start` in /proc/PID/sched, on the clock of the CPU's run queue, is the moment the thread last
 * left its CPU, when it fell asleep. Our own exec_start, read on the same CPU just after we moved to it, is the current
 * value of that clock.
 */

import { NR } from '../../../arch/syscall-numbers.ts';
import type { HostPid } from '../../../base/brands.ts';
import type { Sleep } from '../../../contract/contract.ts';
import { latin1 } from '../../../kernel/proc/common.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { readTimerList, type TimerList } from '../../../kernel/proc/timer-list.ts';
import { isUserWorker, type Member, unlessGone } from '../../../kernel/proc/tree.ts';
import { parseSyscall } from '../../../kernel/proc/values.ts';
import { callBehind, needsTimer, timedCall, UNSEEN } from '../../../kernel/timed-calls.ts';
import { nap } from '../../../tracee/ptrace.ts';
import { codesFor } from './identify-by-bits.ts';
import { RunQueueClocks, readSched } from './run-queue.ts';
import type { SeizedThread } from './seized-threads.ts';
import type { Seizure } from './seizure.ts';

/** A thread that was seen asleep. */
interface Sleeper {
  readonly nr: number;
  readonly args: readonly bigint[];
  readonly wchan: string;
  readonly since: number | undefined;
  /** How often it had gone to sleep until then. */
  readonly switches: number;
  /**
   * Whether the timer is needed to find its deadline: `first` for a call that has not been interrupted before,
   * `restarted` for one that has.
   */
  readonly timer: 'none' | 'first' | 'restarted';
}

/** Most restarted calls that are told apart; more of them may end late. */
const MOST_RESTARTED = 1024;
/** Nanoseconds between two checks whether timers are set again. */
const PAUSE = 100_000;
const LONGEST_WAIT_MS = 10;
/** Milliseconds that telling all of them apart may take. */
const LONGEST_TELLING_MS = 1000;

/** The sleeps that were seen before the freeze. */
export class Sleeps {
  readonly #sleepers = new Map<number, Sleeper>();
  readonly #timers: Timers | undefined;
  /** Threads of the kernel that are not to be stopped. */
  readonly workers: HostPid[] = [];

  /** Examines the running threads of these processes. What cannot be read is left out. */
  constructor(members: readonly Member[]) {
    using clocks = new RunQueueClocks();
    let wanted = false;
    for (const [tid, pid] of members.flatMap(({ tids, pid }) => tids.map((tid) => [tid, pid] as const))) {
      const sleeper = unlessGone(() => look(tid, tid === pid, clocks));
      if (sleeper === 'worker') this.workers.push(tid);
      if (!sleeper || sleeper === 'worker') continue;
      this.#sleepers.set(tid, sleeper);
      wanted ||= sleeper.timer !== 'none';
    }
    if (wanted) this.#timers = timersNow();
  }

  /**
   * Called when all threads are stopped. Returns the sleep of each thread, and the moment to which remaining times
   * refer. Threads in restarted calls are resumed for short moments meanwhile.
   */
  recall(threads: readonly SeizedThread[], seizure: Seizure): { frozenAt: number; sleeps: Map<number, Sleep> } {
    const before = this.#timers;
    const after = before && timersNow();
    const gone = before && after ? missing(before.deadlines, after) : [];
    const own = this.#ownTimers(threads, seizure, gone);
    const frozenAt = performance.now();
    const now = after ? after.now + BigInt(Math.round((frozenAt - after.at) * 1e6)) : 0n;
    const owned = new Set(own.values());
    const others = gone.filter((deadline) => !owned.has(deadline)).map((deadline) => deadline - now);
    const sleeps = new Map<number, Sleep>();
    for (const { tid } of threads) {
      const sleeper = this.#sleepers.get(tid);
      if (!sleeper) continue;
      const { nr, args, wchan, timer } = sleeper;
      // The thread woke up after it was observed, so the call it sleeps in now has just begun.
      if (timer === 'first' && !sleptOn(tid, sleeper)) continue;
      const deadline = own.get(tid);
      const left = deadline === undefined ? others : [deadline - now];
      sleeps.set(tid, { nr, args, wchan, since: sleeper.since, gone: timer === 'none' ? [] : left });
    }
    return { frozenAt, sleeps };
  }

  /**
   * The deadlines of restarted calls, by thread. When such a thread is resumed for a moment, the kernel sets its timer
   * again, to the same nanosecond. Each thread gets a number. For each binary digit the threads whose number has it are
   * resumed, and the timers that reappear show the digits of their thread's number.
   */
  #ownTimers(threads: readonly SeizedThread[], seizure: Seizure, gone: readonly bigint[]): Map<number, bigint> {
    const restarted = threads.filter(
      ({ tid, tracee }) => this.#sleepers.get(tid)?.timer === 'restarted' && tracee.groupStop === undefined,
    );
    const own = new Map<number, bigint>();
    if (gone.length === 0 || restarted.length === 0 || restarted.length > MOST_RESTARTED) return own;
    const codes = codesFor(restarted.length);
    const spelt = new Map<bigint, number>();
    const end = performance.now() + LONGEST_TELLING_MS;
    let digit = 0;
    // On a machine that is too busy for this, the calls may end late as well.
    for (; digit < codes.digits && performance.now() < end; digit++) {
      const some = restarted.filter((_, i) => codes.has(i, digit));
      seizure.resume(some);
      const back = backAgain(gone, some.length);
      seizure.stopAgain();
      for (const deadline of back) spelt.set(deadline, (spelt.get(deadline) ?? 0) | (1 << digit));
    }
    seizure.awaitStable();
    if (digit < codes.digits) return own;
    for (const [deadline, index] of codes.read(spelt)) {
      const thread = restarted[index];
      if (thread) own.set(thread.tid, deadline);
    }
    return own;
  }
}

/**
 * What a thread sleeps in; undefined if it is awake. A thread of the kernel has no place in the program (copy_thread()
 * sets its instruction pointer to 0), and neither has one that has ended; of one that is awake only its flags tell.
 */
function look(tid: HostPid, isMain: boolean, clocks: RunQueueClocks): Sleeper | 'worker' | undefined {
  const bytes = readProcIfAny(tid, 'syscall');
  if (!bytes) return { nr: UNSEEN, args: [], wchan: '', since: undefined, switches: 0, timer: 'none' };
  const state = parseSyscall(bytes);
  const placeless = state.kind === 'running' || (state.pc === 0n && state.sp === 0n);
  if (!isMain && placeless && isUserWorker(tid)) return 'worker';
  if (state.kind !== 'inside') return undefined;
  const { nr, args } = state;
  const seen: Sleeper = { nr, args, wchan: '', since: undefined, switches: 0, timer: 'none' };
  const restarted = nr === NR.restart_syscall;
  const first = timedCall(nr, args);
  if (!restarted && (!first || first.repeatable)) return seen;
  const wchan = latin1(readProcIfAny(tid, 'wchan') ?? new Uint8Array());
  const call = restarted ? callBehind(wchan, args) : first;
  if (!call || call.repeatable) return { ...seen, wchan };
  // The thread is frozen with its cgroup, so its timer is gone already, and nothing shows since when.
  if (/freez|refrigerator/.test(wchan)) return { ...seen, wchan };
  const stopped = wchan === 'do_signal_stop';
  if (!stopped && (restarted || !needsTimer(call)))
    return { ...seen, wchan, timer: restarted && needsTimer(call) ? 'restarted' : 'none' };
  const timer = stopped ? 'none' : 'first';
  const sched = readSched(tid);
  return { ...seen, wchan, timer, since: sched && clocks.moment(tid, sched), switches: sched?.switches ?? 0 };
}

/**
 * Whether a thread slept without interruption until the freeze woke it.
 */
function sleptOn(tid: HostPid, { since, switches }: Sleeper): boolean {
  const sched = since === undefined ? undefined : unlessGone(() => readSched(tid));
  return !sched || sched.switches <= switches + 1;
}

/** A list of timers, and when it was read, in milliseconds of performance.now(). */
type Timers = TimerList & { readonly at: number };

/**
 * The current timers, read twice: the kernel drops its lock between timers and may omit one when others change.
 */
function timersNow(): Timers | undefined {
  const first = readTimerList();
  const at = performance.now();
  const second = first && readTimerList();
  return second && { at, now: second.now, deadlines: new Set([...first.deadlines, ...second.deadlines]) };
}

/** The deadlines that are missing in a list, in ascending order. */
function missing(deadlines: Iterable<bigint>, from: TimerList): bigint[] {
  const gone = [...deadlines].filter((deadline) => deadline > from.now && !from.deadlines.has(deadline));
  return gone.sort((a, b) => (a < b ? -1 : 1));
}

/** Waits until `count` of the timers are set again, or until no more appear. Returns those that were. */
function backAgain(gone: readonly bigint[], count: number): Set<bigint> {
  const back = new Set<bigint>();
  for (let end = performance.now() + LONGEST_WAIT_MS; ; nap(PAUSE)) {
    const before = back.size;
    const list = readTimerList();
    for (const deadline of gone) if (list?.deadlines.has(deadline)) back.add(deadline);
    if (back.size >= count || performance.now() > end) return back;
    // Some timers may be due or their threads awake, so once others have appeared the wait is shorter.
    if (back.size > before) end = performance.now() + LONGEST_WAIT_MS / 3;
  }
}
