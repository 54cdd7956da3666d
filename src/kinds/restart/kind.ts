/**
 * System calls that were interrupted and wait to be restarted with the time they have left (nanosleep, clock_nanosleep,
 * poll, futex). Their deadline lives in the task's restart block, in the kernel. It is made again by the kernel itself:
 * the restored task really makes the call, with the remaining time, and is interrupted at once.
 */
import { StasisError } from '../../base/errors.ts';
import { logWarn } from '../../base/log.ts';
import { NR } from '../../kernel/nr.ts';
import { readMemory } from '../../tracee/memory.ts';
import type { Program } from '../../tracee/program.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../contract.ts';

/** -ERESTART_RESTARTBLOCK, positive. */
const RESTART_BLOCK = 516;
const BILLION = 1_000_000_000n;

/** Where a call has its timeout, as what, and where the kernel leaves the remaining time when it is interrupted. */
interface TimedCall {
  readonly timeout: number;
  readonly form: 'timespec' | 'milliseconds';
  /** Index of the argument that points to the remaining time; the pointer may be NULL. */
  readonly remaining?: number;
}

function timedCall(nr: number): TimedCall | undefined {
  switch (nr) {
    case NR.nanosleep:
      return { timeout: 0, form: 'timespec', remaining: 1 };
    case NR.clock_nanosleep:
      return { timeout: 2, form: 'timespec', remaining: 3 };
    case NR.poll:
      return { timeout: 2, form: 'milliseconds' };
    case NR.futex:
      return { timeout: 3, form: 'timespec' };
    default:
      return undefined;
  }
}

function capture(task: DumpTask, _program: Program): undefined {
  const found = task.tracee.arch.interrupted(task.registers);
  if (found?.result !== RESTART_BLOCK) return;
  const call = timedCall(found.nr);
  const left = call && remainingTime(task, found.nr, found.args, call);
  if (left === undefined) {
    const what = `task ${task.pid}: the interrupted system call ${found.nr}`;
    logWarn('restart.ts', `${what} will end early with EINTR: its remaining time is unknown`);
    return;
  }
  task.extra.restart = { nr: found.nr, args: found.args.map(String), remaining: String(left) };
}

/** Nanoseconds left at the freeze. */
function remainingTime(task: DumpTask, nr: number, args: readonly bigint[], call: TimedCall): bigint | undefined {
  const pointer = call.remaining === undefined ? 0n : (args[call.remaining] ?? 0n);
  if (pointer !== 0n) return readTimespec(task.pid, pointer);
  const { sleep } = task;
  const same = sleep?.nr === nr && args.every((arg, i) => arg === sleep.args[i]);
  if (!sleep || !same) return undefined;
  const whole = timeoutOf(task, args, call);
  const elapsed = BigInt(Math.round((task.frozenAt - sleep.since) * 1e6));
  return whole > elapsed ? whole - elapsed : 0n;
}

function timeoutOf(task: DumpTask, args: readonly bigint[], call: TimedCall): bigint {
  const argument = args[call.timeout] ?? 0n;
  return call.form === 'milliseconds' ? BigInt.asIntN(32, argument) * 1_000_000n : readTimespec(task.pid, argument);
}

function readTimespec(pid: number, pointer: bigint): bigint {
  const view = new DataView(readMemory(pid, Number(pointer), new Uint8Array(16)).buffer);
  return view.getBigInt64(0, true) * BILLION + view.getBigInt64(8, true);
}

/** What is in our own file, checked: it may have been edited. */
function savedCall(task: RestoreTask): { nr: number; args: bigint[]; remaining: bigint } | undefined {
  const saved = task.extra.restart;
  if (saved === undefined || saved === null) return undefined;
  const { nr, args, remaining } = saved as { nr?: unknown; args?: unknown; remaining?: unknown };
  const numbers = Array.isArray(args) && args.length === 6 && args.every((a) => /^\d{1,20}$/.test(String(a)));
  if (typeof nr === 'number' && timedCall(nr) && numbers && /^\d{1,19}$/.test(String(remaining))) {
    return { nr, args: args.map((a) => BigInt(String(a))), remaining: BigInt(String(remaining)) };
  }
  throw new StasisError({ kind: 'image', resource: `stasis-task-${task.pid}.json`, reason: 'restart: not as written' });
}

/**
 * Makes the interrupted call again, as the very last thing done inside the task. Answers how it stands: interrupted
 * and to be restarted (-516), or finished with a result of its own.
 */
export function remakeInterruptedCall(task: RestoreTask): { nr: number; result: number } | undefined {
  const saved = savedCall(task);
  const call = saved && timedCall(saved.nr);
  if (!saved || !call) return undefined;
  const program = task.seed.remote.program();
  const args = saved.args.map((arg) => BigInt.asIntN(64, arg));
  if (call.form === 'milliseconds') args[call.timeout] = (saved.remaining + 999_999n) / 1_000_000n;
  else {
    const timespec = new BigInt64Array([saved.remaining / BILLION, saved.remaining % BILLION]);
    args[call.timeout] = BigInt(program.data(new Uint8Array(timespec.buffer)));
  }
  program.attemptNumber(saved.nr, ...args);
  return { nr: saved.nr, result: task.seed.remote.runInterrupted(program) };
}

/** Interrupted system calls. */
export const restart: TaskKind = { name: 'restart', capture };
