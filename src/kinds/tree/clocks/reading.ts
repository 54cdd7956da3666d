/** Clocks as images have them: readings at the dump, in seconds and nanoseconds. Pure. */
import { ImageError } from '../../../images/error.ts';
import type { InputOf } from '../../../images/message.ts';
import type { TimensEntry, Timespec, timensEntry } from '../../../images/schema/common.ts';
import { type Clocks, secondsAndRest } from '../../../kernel/time-namespace.ts';

const BILLION = 1_000_000_000n;
/** The kernel takes no offset that brings a clock past half of what it can count to (KTIME_SEC_MAX / 2). */
const MOST_SECONDS = (1n << 63n) / BILLION / 2n;

/** Readings in nanoseconds, as the image has them. */
export function entryOf({ monotonic, boottime }: Clocks): InputOf<typeof timensEntry> {
  const timespec = (value: bigint): InputOf<typeof timensEntry>['monotonic'] => {
    const [tv_sec, tv_nsec] = secondsAndRest(value);
    return { tv_sec, tv_nsec };
  };
  return { monotonic: timespec(monotonic), boottime: timespec(boottime) };
}

/** The readings of an image, in nanoseconds. @throws ImageError for what no clock can show */
export function readingsOf(entry: TimensEntry, file: string): Clocks {
  const reading = (field: 'monotonic' | 'boottime'): bigint => {
    const { tv_sec, tv_nsec }: Timespec = entry[field];
    if (tv_nsec < BILLION && tv_sec < MOST_SECONDS) return tv_sec * BILLION + tv_nsec;
    throw new ImageError({ file, field, reason: `impossible reading of a clock: ${tv_sec} s and ${tv_nsec} ns` });
  };
  return { monotonic: reading('monotonic'), boottime: reading('boottime') };
}

/** What is written to `/proc/PID/timens_offsets`. Numbers of clocks are understood by the first kernels, too. */
export function offsetLines({ monotonic, boottime }: Clocks): string {
  const line = (clock: number, offset: bigint): string => {
    const [seconds, nanoseconds] = secondsAndRest(offset);
    return `${clock} ${seconds} ${nanoseconds}\n`;
  };
  return line(1, monotonic) + line(7, boottime);
}
