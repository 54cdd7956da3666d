/**
 * Clocks as a task sees them (time_namespaces(7), since 5.6): its time namespace adds an offset to CLOCK_MONOTONIC and
 * CLOCK_BOOTTIME. What the kernel shows elsewhere (/proc/timer_list, our own clocks) does not contain a task's offset.
 */
import type { HostPid } from '../base/brands.ts';
import { CLOCK } from './constants/tasks.ts';
import { type ClockOffset, parseTimeOffsets } from './proc/namespaces.ts';
import { readProcIfAny } from './proc/read.ts';
import { arenaAddress, arenaView, syscall } from './syscall.ts';

const BILLION = 1_000_000_000n;

/** Readings of the clocks that time namespaces shift, or the offsets; in nanoseconds. */
export interface Clocks {
  readonly monotonic: bigint;
  readonly boottime: bigint;
}

/** Applies `work` to the values of each clock. */
export function eachClock(a: Clocks, b: Clocks, work: (a: bigint, b: bigint) => bigint): Clocks {
  return { monotonic: work(a.monotonic, b.monotonic), boottime: work(a.boottime, b.boottime) };
}

/** The current clocks without any time namespace's offset. */
export function machineClocks(): Clocks {
  const here = { monotonic: clock(CLOCK.MONOTONIC), boottime: clock(CLOCK.BOOTTIME) };
  return eachClock(here, offsetsForChildren('self'), (reading, offset) => reading - offset);
}

/**
 * The offsets of the namespace the children of a task are born into, the only ones that the kernel shows; none where it
 * has no time namespaces.
 */
export function offsetsForChildren(pid: HostPid | 'self'): Clocks {
  const bytes = readProcIfAny(pid, 'timens_offsets');
  if (!bytes) return { monotonic: 0n, boottime: 0n };
  const { monotonic, boottime } = parseTimeOffsets(bytes);
  return { monotonic: nanoseconds(monotonic), boottime: nanoseconds(boottime) };
}

function nanoseconds({ sec, nsec }: ClockOffset): bigint {
  return sec * BILLION + BigInt(nsec);
}

function clock(id: number): bigint {
  syscall('clock_gettime', id, arenaAddress);
  return arenaView.getBigInt64(0, true) * BILLION + arenaView.getBigInt64(8, true);
}

/** Seconds and nanoseconds below one second; seconds may be negative. */
export function secondsAndRest(value: bigint): readonly [seconds: bigint, nanoseconds: bigint] {
  const rest = ((value % BILLION) + BILLION) % BILLION;
  return [(value - rest) / BILLION, rest];
}
