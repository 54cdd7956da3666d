/**
 * System calls whose deadline the kernel keeps in the task's restart block when they are interrupted, and which it
 * continues through restart_syscall(2): nanosleep, clock_nanosleep, poll, and futex with a timeout (set_restart_fn() in
 * kernel/time/, fs/select.c, kernel/futex/waitwake.c; nothing else in the kernel uses it). Pure.
 */

import { USER_END } from '../arch/numbers.ts';
import { NR } from '../arch/syscall-numbers.ts';
import { CLOCK, FUTEX, FUTEX_CMD_MASK, TIMER_ABSTIME } from './constants/tasks.ts';
import { IORING_ENTER } from './constants/uring.ts';

/** Stands for the number of a call that the kernel does not show. */
export const UNSEEN = -1;

/** A word below this is no pointer, since user memory does not begin below it (vm.mmap_min_addr). */
const LOWEST_POINTER = 4096n;

/** A call that sleeps for a time, as its arguments say. */
export interface TimedCall {
  readonly nr: number;
  readonly args: readonly bigint[];
  /** Index of the argument with the timeout, and what it is: a pointer to a timespec, or milliseconds. */
  readonly timeout: number;
  readonly form: 'timespec' | 'milliseconds';
  /** Address at which the kernel stores the remaining time when the call is interrupted; 0 for none. */
  readonly rest: bigint;
  /** The clock counts the CPU time of a process, so it stands still while that process sleeps. */
  readonly cpuTime: boolean;
  /** The timeout is absolute or there is none, so making the call again with the same arguments continues it. */
  readonly repeatable: boolean;
}

/** Describes a call that the kernel continues through the restart block; undefined for other calls. */
export function timedCall(nr: number, args: readonly bigint[]): TimedCall | undefined {
  const [first = 0n, second = 0n, third = 0n, fourth = 0n] = args;
  const call = { nr, args, rest: 0n, cpuTime: false, repeatable: false };
  switch (nr) {
    case NR.nanosleep:
      return { ...call, timeout: 0, form: 'timespec', rest: second };
    case NR.clock_nanosleep:
      return {
        ...call,
        timeout: 2,
        form: 'timespec',
        rest: fourth,
        cpuTime: isCpuClock(int(first)),
        repeatable: (int(second) & TIMER_ABSTIME) !== 0,
      };
    case NR.poll:
      return { ...call, timeout: 2, form: 'milliseconds', repeatable: int(third) < 0 };
    case NR.futex: {
      const command = int(second) & FUTEX_CMD_MASK;
      if (command !== FUTEX.WAIT && command !== FUTEX.WAIT_BITSET) return undefined;
      // Of these two, only FUTEX_WAIT takes its timeout as a length of time.
      const repeatable = command === FUTEX.WAIT_BITSET || fourth === 0n;
      return { ...call, timeout: 3, form: 'timespec', repeatable };
    }
    default:
      return undefined;
  }
}

/**
 * The call a task sleeps in if /proc shows restart_syscall. The argument registers are still those of the original
 * call, and `wchan` (/proc/PID/wchan) names the kernel's function. Undefined if these do not identify the call.
 */
export function callBehind(wchan: string, args: readonly bigint[]): TimedCall | undefined {
  const [first = 0n, second = 0n, third = 0n] = args;
  if (wchan.includes('poll')) return timedCall(NR.poll, args);
  if (wchan.includes('futex')) return timedCall(NR.futex, args);
  // The function that restarts a nanosleep ends in a jump to the scheduler, so its own name is not always on the stack.
  if (!/nanosleep|nsleep|syscall/.test(wchan)) return undefined;
  const pointers = isPointer(first) && (second === 0n || isPointer(second));
  if (pointers && !isClock(first)) return timedCall(NR.nanosleep, args);
  return isClock(first) && int(second) === 0 && isPointer(third) ? timedCall(NR.clock_nanosleep, args) : undefined;
}

/**
 * The timeout argument of each call that ends with EINTR after any stop, with or without a signal handler; see {@link
 * isEndless}.
 */
const LIMITS = new Map<number, { readonly argument: number; readonly form: 'timespec' | 'milliseconds' | 'none' }>([
  [NR.epoll_wait, { argument: 3, form: 'milliseconds' }],
  [NR.epoll_pwait, { argument: 3, form: 'milliseconds' }],
  [NR.epoll_pwait2, { argument: 3, form: 'timespec' }],
  [NR.semop, { argument: 3, form: 'none' }],
  [NR.semtimedop, { argument: 3, form: 'timespec' }],
  [NR.rt_sigtimedwait, { argument: 2, form: 'timespec' }],
  [NR.io_getevents, { argument: 4, form: 'timespec' }],
  [NR.io_pgetevents, { argument: 4, form: 'timespec' }],
]);

/**
 * Whether a call waits without a timeout and ends with EINTR where others are restarted, even if the task was only
 * stopped and continued (signal(7); fs/eventpoll.c, ipc/sem.c, kernel/signal.c, fs/aio.c, io_uring/wait.c). Making such
 * a call again continues it.
 */
export function isEndless(nr: number, args: readonly bigint[]): boolean {
  if (nr === NR.io_uring_enter) return waitsOnly(args);
  const limit = LIMITS.get(nr);
  if (!limit) return false;
  const value = args[limit.argument] ?? 0n;
  return limit.form === 'none' || (limit.form === 'timespec' ? value === 0n : int(value) < 0);
}

/**
 * Whether a call of io_uring_enter(2) submits nothing and waits without a timeout. (Of one that submits, the result is
 * how many requests were taken; a timeout is behind IORING_ENTER_EXT_ARG.)
 */
function waitsOnly([, submitted = 0n, , flags = 0n]: readonly bigint[]): boolean {
  return int(submitted) === 0 && (int(flags) & IORING_ENTER.EXT_ARG) === 0;
}

/** Whether the remaining time of a call can only be found in /proc/timer_list. */
export function needsTimer(call: TimedCall): boolean {
  return !call.repeatable && call.rest === 0n && !call.cpuTime;
}

/** The lower half of a register, as the kernel takes an `int`. */
function int(word: bigint): number {
  return Number(BigInt.asIntN(32, word));
}

/** Negative clock IDs are CPU clocks of some process. */
function isCpuClock(id: number): boolean {
  return id < 0 || id === CLOCK.PROCESS_CPUTIME_ID || id === CLOCK.THREAD_CPUTIME_ID;
}

function isClock(word: bigint): boolean {
  return word < LOWEST_POINTER || (int(word) < 0 && (word >= USER_END || word < 1n << 32n));
}

function isPointer(word: bigint): boolean {
  return word >= LOWEST_POINTER && word < USER_END;
}
