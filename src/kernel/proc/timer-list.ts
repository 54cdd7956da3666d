/** `/proc/timer_list` (kernel/time/timer_list.c): the high-resolution timers of all CPUs. Only root may read it. */
import { StasisError } from '../../base/errors.ts';
import { latin1 } from './common.ts';
import { readSystem } from './read.ts';

/** The timers that wake sleeping tasks; all values in nanoseconds. */
export interface TimerList {
  /** When the list was made, on CLOCK_MONOTONIC. */
  readonly now: bigint;
  /**
   * Deadlines of the timers, converted to CLOCK_MONOTONIC. They are exact to the nanosecond, so a deadline identifies a
   * timer.
   */
  readonly deadlines: ReadonlySet<bigint>;
}

/** Lines of timers whose function only wakes a task. */
const WAKES = /^ #\d+: <[^>]*>, (?:hrtimer_wakeup|alarmtimer_fired), S:01/;
const EXPIRES = /^ # expires at (\d+)-/;
const OFFSET = /^ {2}\.offset: +(-?\d+) nsecs/;
const NOW = /^now at (\d+) nsecs/;

/**
 * Parses the file. Unknown lines are ignored: the file is meant for people, and the kernel does not promise its format.
 */
export function parseTimerList(bytes: Uint8Array): TimerList {
  const deadlines = new Set<bigint>();
  let now = 0n;
  let offset = 0n;
  let wakes = false;
  for (const line of latin1(bytes).split('\n')) {
    // Nearly all lines belong to timers, two lines each. Cheap prefixes are compared before a regular expression is
    // tried.
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

/** The current timers; undefined where the file may not be read (containers hide it). */
export function readTimerList(): TimerList | undefined {
  try {
    return parseTimerList(readSystem('/proc/timer_list'));
  } catch (error) {
    if (error instanceof StasisError) return undefined;
    throw error;
  }
}
