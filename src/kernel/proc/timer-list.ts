/** `/proc/timer_list` (kernel/time/timer_list.c): the high resolution timers of all CPUs; root alone may read it. */
import { StasisError } from '../../base/errors.ts';
import { latin1 } from './common.ts';
import { readSystem } from './read.ts';

/** Timers that wake sleeping tasks, in nanoseconds. */
export interface TimerList {
  /** The moment of the list, on CLOCK_MONOTONIC. */
  readonly now: bigint;
  /** Their deadlines, on that clock whatever a timer's own is: to the nanosecond, they are as good as names. */
  readonly deadlines: ReadonlySet<bigint>;
}

/** Functions of timers that wake a task, and nothing else. */
const WAKES = /^ #\d+: <[^>]*>, (?:hrtimer_wakeup|alarmtimer_fired), S:01/;
const EXPIRES = /^ # expires at (\d+)-/;
const OFFSET = /^ {2}\.offset: +(-?\d+) nsecs/;
const NOW = /^now at (\d+) nsecs/;

/** Parses the file. What is not understood is left out: the file is for people, and its form no promise. */
export function parseTimerList(bytes: Uint8Array): TimerList {
  const deadlines = new Set<bigint>();
  let now = 0n;
  let offset = 0n;
  let wakes = false;
  for (const line of latin1(bytes).split('\n')) {
    // Nearly all lines are of timers, in pairs; regular expressions are tried on what may match only.
    if (line.startsWith(' # expires')) {
      const expires = wakes ? EXPIRES.exec(line) : null;
      if (expires) deadlines.add(BigInt(expires[1] ?? 0) - offset);
      wakes = false;
    } else if (line.startsWith(' #')) {
      wakes = WAKES.test(line);
    } else {
      const shift = OFFSET.exec(line);
      if (shift) offset = BigInt(shift[1] ?? 0);
      const moment = NOW.exec(line);
      if (moment) now = BigInt(moment[1] ?? 0);
    }
  }
  return { now, deadlines };
}

/** The timers of now; undefined where they may not be read (containers hide the file). */
export function readTimerList(): TimerList | undefined {
  try {
    return parseTimerList(readSystem('/proc/timer_list'));
  } catch (error) {
    if (error instanceof StasisError) return undefined;
    throw error;
  }
}
