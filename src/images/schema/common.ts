/** Small messages that many others use: owners of files, points in time. */

import { message, nested, type TypeOf, uint32, uint64 } from '../message.ts';

/** Who gets signals about a file (`F_SETOWN`, `F_SETSIG`). */
export const fownEntry = message('fown_entry', () => ({
  uid: uint32(1),
  euid: uint32(2),
  signum: uint32(3),
  pid_type: uint32(4),
  pid: uint32(5),
}));
export type FownEntry = TypeOf<typeof fownEntry>;

/** Seconds and microseconds. */
export const timeval = message('timeval', () => ({
  tv_sec: uint64(1),
  tv_usec: uint64(2),
}));
export type Timeval = TypeOf<typeof timeval>;

/** Seconds and nanoseconds. */
export const timespec = message('timespec', () => ({
  tv_sec: uint64(1),
  tv_nsec: uint64(2),
}));
export type Timespec = TypeOf<typeof timespec>;

/** `timens-%u.img`: the clocks as they stood, not offsets. */
export const timensEntry = message('timens_entry', () => ({
  monotonic: nested(1, timespec),
  boottime: nested(2, timespec),
}));
export type TimensEntry = TypeOf<typeof timensEntry>;
