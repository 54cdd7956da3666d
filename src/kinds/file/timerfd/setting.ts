/** Computes the setting that restores a timerfd. Pure. */
import type { TimerfdEntry } from '../../../images/schema/events.ts';
import { TFD } from '../../../kernel/constants/files.ts';

const SECOND = 1_000_000_000n;

/** Arguments of timerfd_settime(2), times in nanoseconds. */
export interface Setting {
  readonly flags: number;
  readonly value: bigint;
  readonly interval: bigint;
}

/**
 * fdinfo, and so the image, holds the remaining time even for timers set to an absolute time. For those `now` is added,
 * the timer's clock in nanoseconds.
 *
 * A periodic timer that has expired and was not read yet is not running in the kernel: it has no time left and unread
 * ticks. A setting with no time left would disarm it, so it is made to expire at once.
 */
export function settingOf(entry: TimerfdEntry, now: () => bigint): Setting {
  const interval = entry.isec * SECOND + entry.insec;
  const left = entry.vsec * SECOND + entry.vnsec;
  const value = left === 0n && interval !== 0n && entry.ticks !== 0n ? 1n : left;
  const absolute = (entry.settime_flags & TFD.TIMER_ABSTIME) !== 0;
  return { flags: entry.settime_flags, value: absolute && value !== 0n ? now() + value : value, interval };
}

/** Nanoseconds as seconds and the rest. */
export function timespecOf(nanoseconds: bigint): readonly [bigint, bigint] {
  return [nanoseconds / SECOND, nanoseconds % SECOND];
}
