/** Converts POSIX timers between /proc, the kernel's structs and the image's message. Pure. */
import type { PosixTimerEntry } from '../../../images/schema/task.ts';
import { SIGEV } from '../../../kernel/constants/signals.ts';
import { Sigevent } from '../../../kernel/layouts/signals.ts';
import { Itimerspec } from '../../../kernel/layouts/time.ts';
import type { ProcTimer } from '../../../kernel/proc/timers.ts';

/**
 * The image's entry of a timer. `setting` comes from timer_gettime(2); `threadId` is the TID of the notified thread in
 * its own PID namespace.
 */
export function entryOf(timer: ProcTimer, setting: Itimerspec, overrun: number, threadId: number): PosixTimerEntry {
  return {
    it_id: timer.id,
    clock_id: timer.clockId >>> 0,
    si_signo: timer.signo,
    it_sigev_notify: notifyOf(timer),
    sival_ptr: timer.sigval,
    overrun,
    isec: setting.interval.sec,
    insec: setting.interval.nsec,
    vsec: setting.value.sec,
    vnsec: setting.value.nsec,
    ...(timer.toThread ? { notify_thread_id: threadId } : {}),
  };
}

/**
 * The value of `sigev_notify`. The kernel may show "thread" for SIGEV_THREAD, which libc implements; for the kernel it
 * is a plain signal.
 */
function notifyOf(timer: ProcTimer): number {
  if (timer.toThread) return SIGEV.THREAD_ID;
  if (timer.notify === 'signal') return SIGEV.SIGNAL;
  return timer.notify === 'thread' ? SIGEV.THREAD : SIGEV.NONE;
}

/**
 * `struct sigevent` for timer_create(2). `lives`: whether the thread to notify still exists; if not, the timer notifies
 * nobody.
 */
export function sigeventOf(entry: PosixTimerEntry, lives: boolean): Uint8Array {
  return Sigevent.encode({
    value: entry.sival_ptr,
    signo: entry.si_signo,
    notify: entry.it_sigev_notify === SIGEV.THREAD_ID && !lives ? SIGEV.NONE : entry.it_sigev_notify,
    tid: entry.notify_thread_id ?? 0,
  });
}

/**
 * `struct itimerspec` for timer_settime(2); undefined if the timer is not armed. A timer with an interval but no time
 * left continues with a whole interval.
 */
export function settingOf(entry: PosixTimerEntry): Uint8Array | undefined {
  const interval = { sec: entry.isec, nsec: entry.insec };
  const value = { sec: entry.vsec, nsec: entry.vnsec };
  const left = value.sec || value.nsec ? value : interval;
  return left.sec || left.nsec ? Itimerspec.encode({ interval, value: left }) : undefined;
}
