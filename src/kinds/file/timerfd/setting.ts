/** Which setting brings a timerfd back to where it was: pure. */
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
 * fdinfo, and so the image, tells the time left, also of timers set to an absolute time: `now`, the timer's clock in
 * nanoseconds, is added for those.
 *
 * A periodic timer that expired and was not read yet stands still in the kernel, with no time left and ticks to be
 * read. Set so, it would be disarmed for good; it is made to expire at once instead.
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
