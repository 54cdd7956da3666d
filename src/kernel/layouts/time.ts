/** Times (include/uapi/linux/time_types.h, time.h). Nanoseconds and microseconds are below one second. */

import { i64, struct, type ValueOf } from './struct.ts';

/** `struct __kernel_timespec`. */
export const Timespec = struct({ sec: i64, nsec: i64 });
export type Timespec = ValueOf<typeof Timespec>;

/** `struct __kernel_old_timeval` of 64-bit architectures. */
export const Timeval = struct({ sec: i64, usec: i64 });
export type Timeval = ValueOf<typeof Timeval>;

/** `struct __kernel_itimerspec`, of timer_settime and timerfd_settime; a zero `value` is a disarmed timer. */
export const Itimerspec = struct({ interval: Timespec, value: Timespec });
export type Itimerspec = ValueOf<typeof Itimerspec>;

/** `struct __kernel_old_itimerval`, of setitimer. */
export const Itimerval = struct({ interval: Timeval, value: Timeval });
export type Itimerval = ValueOf<typeof Itimerval>;
