/** Namespace links, id maps and clock offsets (fs/nsfs.c, kernel/user_namespace.c, kernel/time/namespace.c). */

import { bigDecimal, decimal, linesOf, malformed, words } from './common.ts';

/** A namespace, as its link `ns/*` names it. */
export interface NsLink {
  /** `mnt`, `net`, `pid` …; `time_for_children` also says `time`. */
  readonly type: string;
  /** The inode: the namespace's id. */
  readonly ino: number;
}

/** Parses the target of `/proc/PID/ns/*`, `net:[4026531840]`; `undefined` for any other text. */
export function parseNsLink(target: string): NsLink | undefined {
  const match = /^([a-z_]+):\[(\d+)\]$/.exec(target);
  return match ? { type: match[1] as string, ino: Number(match[2]) } : undefined;
}

/** One range of an id map: `inside … inside+count-1` here are `outside …` in the reader's user namespace. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Parses `/proc/PID/uid_map` or `gid_map`; empty when not set yet. Throws `kernel` for another format. */
export function parseIdMap(bytes: Uint8Array): IdRange[] {
  return linesOf(bytes).map((line) => {
    const [inside, outside, count] = words(line);
    const number = (word: string | undefined) => decimal(word, '/proc/PID/uid_map');
    return { inside: number(inside), outside: number(outside), count: number(count) };
  });
}

/** What a time namespace adds to a clock; nanoseconds are never negative. */
export interface ClockOffset {
  readonly sec: bigint;
  readonly nsec: number;
}

/** Offsets of a time namespace. */
export interface TimeOffsets {
  readonly monotonic: ClockOffset;
  readonly boottime: ClockOffset;
}

/**
 * Parses `/proc/PID/timens_offsets` (since 5.6), which tells of `time_for_children`. Clocks are printed by name, and by
 * number in the first kernels that had the file. Throws `kernel` for another format.
 */
export function parseTimeOffsets(bytes: Uint8Array): TimeOffsets {
  const file = '/proc/PID/timens_offsets';
  const found = new Map<string, ClockOffset>();
  for (const line of linesOf(bytes)) {
    const [clock, sec, nsec] = words(line);
    found.set(clock ?? '', { sec: bigDecimal(sec, file), nsec: decimal(nsec, file) });
  }
  const monotonic = found.get('monotonic') ?? found.get('1');
  const boottime = found.get('boottime') ?? found.get('7');
  if (!monotonic || !boottime) throw malformed(file, 'no monotonic or boottime line');
  return { monotonic, boottime };
}
