/**
 * Interrupted system calls that continue with their remaining time (nanosleep, clock_nanosleep, poll, futex). The
 * kernel keeps their deadline in the task's restart block, and fills that in again itself: the restored task really
 * makes the call, with the remaining time, and is interrupted at once. Calls whose timeout is absolute, or that have
 * none, are simply made again (kinds/task/registers).
 */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { Departure, DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { type TimedCall, timedCall, UNSEEN } from '../../../kernel/timed-calls.ts';
import { interruptedCall, sleepOf } from '../../../support/interrupted.ts';
import { tryReadMemory } from '../../../tracee/memory.ts';
import type { Program } from '../../../tracee/program.ts';
import { resumeEndlessCall } from './endless.ts';
import { latestTimer, ownTimer } from './timers.ts';

const BILLION = 1_000_000_000n;

function capture(thread: DumpThread, _program: Program): undefined {
  const found = interruptedCall(thread);
  if (!found || found.again !== undefined) return;
  const { timed } = found;
  const left = timed && (remainingTime(thread, timed, found.nr !== timed.nr) ?? mostRemaining(thread, timed));
  if (!timed || left === undefined) {
    const what = `the interrupted system call ${timed?.nr ?? found.nr}`;
    const reason = `${what} will end early with EINTR: its remaining time is unknown`;
    thread.context.notice({ task: thread.ref, reason });
    return;
  }
  thread.ownState.restart = { nr: timed.nr, args: timed.args.map(String), remaining: String(left > 0n ? left : 0n) };
}

/** Nanoseconds left at the freeze; zero or negative if the time is over. */
function remainingTime(thread: DumpThread, call: TimedCall, restarted: boolean): bigint | undefined {
  const sleep = sleepOf(thread);
  const asleep = sleep?.since === undefined ? undefined : BigInt(Math.round((thread.frozenAt - sleep.since) * 1e6));
  const stopped = thread.tracee.groupStop !== undefined;
  // The kernel writes it when the call is interrupted: at the freeze or, if the task was stopped, at that stop.
  const rest = call.rest === 0n ? undefined : readTimespec(thread.tid, call.rest);
  if (rest !== undefined) return stopped ? rest - (asleep ?? 0n) : rest;
  const whole = timeoutOf(thread, call);
  if (stopped || whole === undefined) return undefined;
  if (call.cpuTime) return whole;
  // The thread fell asleep after it was observed, so just before the freeze. The whole time is taken, since no call may
  // end early.
  if (!sleep && !restarted && thread.sleep?.nr !== UNSEEN) return whole;
  // For a call that was interrupted before, only the timer gives the deadline.
  const first = sleep?.nr === call.nr && asleep !== undefined;
  const expected = first ? whole - asleep : undefined;
  return ownTimer(sleep?.gone ?? [], expected) ?? expected;
}

/**
 * The most nanoseconds that a call can have left whose remaining time is unknown; undefined if not even its timeout can
 * be read. Many programs take an end with EINTR for a failure of what they wait for, and none expects a call to end
 * before its time; that it ends late can always happen.
 */
function mostRemaining(thread: DumpThread, call: TimedCall): bigint | undefined {
  const whole = timeoutOf(thread, call);
  if (whole === undefined) return undefined;
  const most = latestTimer(sleepOf(thread)?.gone ?? [], whole);
  const reason =
    `the interrupted system call ${call.nr} may end late, after ${Number(most / 1_000_000n) / 1000} s at most: ` +
    'its remaining time is unknown';
  thread.context.notice({ task: thread.ref, reason });
  return most;
}

function timeoutOf(thread: DumpThread, call: TimedCall): bigint | undefined {
  const argument = call.args[call.timeout] ?? 0n;
  if (call.form === 'milliseconds') return BigInt.asIntN(32, argument) * 1_000_000n;
  return readTimespec(thread.tid, argument);
}

/** Reads a timespec as nanoseconds; undefined if it is not readable (the task may have unmapped it). */
function readTimespec(pid: HostPid, pointer: bigint): bigint | undefined {
  const bytes = new Uint8Array(16);
  if (tryReadMemory(pid, Number(pointer), bytes) !== bytes.length) return undefined;
  const view = new DataView(bytes.buffer);
  const nanoseconds = view.getBigInt64(8, true);
  if (nanoseconds < 0n || nanoseconds >= BILLION) return undefined;
  return view.getBigInt64(0, true) * BILLION + nanoseconds;
}

/** The saved call from `ownState`, checked, since the file may have been edited. */
function savedCall(thread: RestoreThread): { call: TimedCall; remaining: bigint } | undefined {
  const saved = thread.ownState.restart;
  if (saved === undefined || saved === null) return undefined;
  const { nr, args, remaining } = saved as { nr?: unknown; args?: unknown; remaining?: unknown };
  const numbers = Array.isArray(args) && args.length === 6 && args.every((a) => /^\d{1,20}$/.test(String(a)));
  if (typeof nr === 'number' && numbers && /^\d{1,19}$/.test(String(remaining))) {
    const call = timedCall(
      nr,
      args.map((arg) => BigInt(String(arg))),
    );
    if (call) return { call, remaining: BigInt(String(remaining)) };
  }
  throw new StasisError({
    kind: 'image',
    resource: `stasis-task-${thread.process.pid}.json`,
    reason: 'restart: not as written',
  });
}

/**
 * Makes the interrupted call again, as the last call of the thread before it continues, and records the outcome:
 * interrupted and to be restarted (-516), or finished with a result of its own.
 */
function remakeInterruptedCall(thread: RestoreThread, departure: Departure): void {
  const saved = savedCall(thread);
  if (!saved) return;
  const { call, remaining } = saved;
  const program = thread.remote.program();
  const args = call.args.map((arg) => BigInt.asIntN(64, arg));
  if (call.form === 'milliseconds') args[call.timeout] = (remaining + 999_999n) / 1_000_000n;
  else {
    const timespec = new BigInt64Array([remaining / BILLION, remaining % BILLION]);
    args[call.timeout] = BigInt(program.data(new Uint8Array(timespec.buffer)));
  }
  program.attemptNumber(call.nr, ...args);
  departure.call = { nr: call.nr, result: thread.remote.runInterrupted(program) };
}

/** Interrupted system calls. */
export const restart: TaskKind = {
  name: 'restart',
  thread: { stopped: resumeEndlessCall, capture, depart: remakeInterruptedCall },
};
