/** timerfd(2): a timer read from a descriptor. */

import type { FileDoors } from '../../../contract/contract.ts';
import { TFD, TFD_IOC_SET_TICKS } from '../../../kernel/constants/files.ts';
import { CLOCK } from '../../../kernel/constants/tasks.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../../../kernel/syscall.ts';
import { detailOf, partOf } from '../../../support/fdinfo.ts';
import { captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { type Setting, settingOf, timespecOf } from './setting.ts';

/**
 * Carries clock, unread ticks, remaining time and interval. The `clocks` kind handles clock offsets of time namespaces.
 */
export const timerfdKind: FileDoors = {
  capture(file, id, context) {
    const seen = detailOf(file, 'timerfd');
    return {
      tfd: {
        id,
        flags: imageFlags(file.flags),
        fown: captureOwner(file.local, file.flags, context),
        clockid: seen.clockId,
        ticks: seen.ticks,
        settime_flags: seen.settimeFlags,
        vsec: seen.value.sec,
        vnsec: seen.value.nsec,
        isec: seen.interval.sec,
        insec: seen.interval.nsec,
      },
    };
  },

  rebuild(entry, context) {
    const timer = partOf(entry, 'tfd');
    using fd = new Fd(syscall('timerfd_create', timer.clockid, TFD.CLOEXEC));
    setFlagsAndOwner(fd.number, timer.flags, timer.fown, context);
    setTime(
      fd.number,
      settingOf(timer, () => clock(timer.clockid)),
    );
    if (timer.ticks !== 0n) {
      arenaView.setBigUint64(0, timer.ticks, true);
      syscall('ioctl', fd.number, TFD_IOC_SET_TICKS, arenaAddress);
    }
    return fd.release();
  },
};

/** What the clocks that wake a suspended machine read; without a real-time clock they cannot be read themselves. */
const READ_AS: Readonly<Record<number, number>> = {
  [CLOCK.REALTIME_ALARM]: CLOCK.REALTIME,
  [CLOCK.BOOTTIME_ALARM]: CLOCK.BOOTTIME,
};

/** The current value of a clock in nanoseconds. */
function clock(id: number): bigint {
  syscall('clock_gettime', READ_AS[id] ?? id, arenaAddress);
  return arenaView.getBigInt64(0, true) * 1_000_000_000n + arenaView.getBigInt64(8, true);
}

function setTime(fd: number, setting: Setting): void {
  const itimerspec = [...timespecOf(setting.interval), ...timespecOf(setting.value)];
  itimerspec.forEach((word, i) => {
    arenaView.setBigInt64(8 * i, word, true);
  });
  syscall('timerfd_settime', fd, setting.flags, arenaAddress, 0);
}
