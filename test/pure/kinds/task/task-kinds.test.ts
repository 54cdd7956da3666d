/** The pure halves of the kinds of task state. */
import { describe, expect, test } from 'bun:test';
import { Sigevent } from '../../../../src/kernel/layouts/signals.ts';
import { Itimerspec, Itimerval } from '../../../../src/kernel/layouts/time.ts';
import type { ProcTimer } from '../../../../src/kernel/proc/timers.ts';
import { capMask, capNumbers, capWords } from '../../../../src/kinds/task/credentials/sets.ts';
import { toKernel } from '../../../../src/kinds/task/itimers/kind.ts';
import { entryOf, settingOf, sigeventOf } from '../../../../src/kinds/task/posix-timers/entry.ts';
import { cpuMask } from '../../../../src/kinds/task/scheduling/cpus.ts';
import { actionBytes, actionEntries, actionSignals, isPlain } from '../../../../src/kinds/task/signals/actions.ts';

describe('capability sets', () => {
  test('two words, the low one first', () => {
    expect(capWords(0x1ff_feff_ffffn)).toEqual([0xfeff_ffff, 0x1ff]);
    expect(capMask([0xfeff_ffff, 0x1ff])).toBe(0x1ff_feff_ffffn);
    expect(capMask([])).toBe(0n);
  });

  test('numbers of a mask', () => {
    expect(capNumbers((1n << 40n) | 5n)).toEqual([0, 2, 40]);
    expect(capNumbers(0n)).toEqual([]);
  });
});

describe('CPU lists', () => {
  test.each([
    ['0', [1]],
    ['0-1', [3]],
    ['1,3-4', [0b11010]],
    ['63', [0, 0, 0, 0, 0, 0, 0, 0x80]],
    ['0,64', [1, 0, 0, 0, 0, 0, 0, 0, 1]],
  ])('%s', (list, start) => {
    const mask = cpuMask(list);
    expect(mask.length % 8).toBe(0);
    expect([...mask.subarray(0, start.length)]).toEqual(start);
    expect([...mask.subarray(start.length)].every((byte) => byte === 0)).toBe(true);
  });
});

describe('signal actions', () => {
  test('the list leaves out SIGKILL and SIGSTOP', () => {
    const signals = actionSignals();
    expect(signals).toHaveLength(62);
    expect(signals.slice(7, 10)).toEqual([8, 10, 11]);
    expect(signals.slice(16, 18)).toEqual([18, 20]);
    expect(signals.at(-1)).toBe(64);
  });

  test('there and back', () => {
    const entry = {
      sigaction: 0x55_5555_5555n,
      flags: 0x9400_0004n,
      restorer: 0x7fff_0000_1234n,
      mask: 0xffff_ffff_ffff_ffffn,
      compat_sigaction: false,
    };
    const other = { ...entry, flags: 1n };
    const bytes = Buffer.concat([actionBytes(entry), actionBytes(other)]);
    expect(actionEntries(bytes)).toEqual([entry, other]);
    expect(actionEntries(Uint8Array.from(bytes))).toBe(actionEntries(bytes));
    expect(actionEntries(actionBytes(other))).toEqual([other]);
  });

  test('only a default action with neither flags nor mask is a struct of zeros', () => {
    const plain = { sigaction: 0n, flags: 0n, restorer: 0n, mask: 0n, compat_sigaction: false };
    expect(isPlain(plain)).toBe(true);
    expect(actionBytes(plain).every((byte) => byte === 0)).toBe(true);
    for (const field of ['sigaction', 'flags', 'restorer', 'mask'])
      expect(isPlain({ ...plain, [field]: 1n })).toBe(false);
  });
});

describe('interval timers', () => {
  const timer = (isec: bigint, iusec: bigint, vsec: bigint, vusec: bigint) => toKernel({ isec, iusec, vsec, vusec });

  test('not armed', () => expect(timer(0n, 0n, 0n, 0n)).toBeUndefined());

  test('armed', () => {
    expect(Itimerval.decode(timer(1n, 2n, 3n, 4n) as Uint8Array)).toEqual({
      interval: { sec: 1n, usec: 2n },
      value: { sec: 3n, usec: 4n },
    });
  });

  test('expired, and periodic: a whole interval is left', () => {
    expect(Itimerval.decode(timer(5n, 6n, 0n, 0n) as Uint8Array).value).toEqual({ sec: 5n, usec: 6n });
  });
});

describe('POSIX timers', () => {
  const seen: ProcTimer = {
    id: 7,
    signo: 44,
    sigval: 0xdead_beef_0000_0001n,
    notify: 'signal',
    toThread: true,
    target: 4711,
    clockId: -6,
  };
  const setting = { interval: { sec: 1n, nsec: 2n }, value: { sec: 3n, nsec: 4n } };

  test('the entry', () => {
    expect(entryOf(seen, setting, 9, 17)).toEqual({
      it_id: 7,
      clock_id: 0xffff_fffa,
      si_signo: 44,
      it_sigev_notify: 4,
      sival_ptr: 0xdead_beef_0000_0001n,
      overrun: 9,
      isec: 1n,
      insec: 2n,
      vsec: 3n,
      vnsec: 4n,
      notify_thread_id: 17,
    });
  });

  test.each([
    ['signal', 0],
    ['none', 1],
    ['thread', 2],
  ] as const)('notified by %s', (notify, number) => {
    const entry = entryOf({ ...seen, notify, toThread: false }, setting, 0, 17);
    expect(entry.it_sigev_notify).toBe(number);
    expect(entry.notify_thread_id).toBeUndefined();
  });

  test('as timer_create and timer_settime take it', () => {
    const entry = entryOf(seen, setting, 0, 17);
    expect(Sigevent.decode(sigeventOf(entry, true))).toMatchObject({
      value: seen.sigval,
      signo: 44,
      notify: 4,
      tid: 17,
    });
    expect(Itimerspec.decode(settingOf(entry) as Uint8Array)).toEqual(setting);
    expect(settingOf({ ...entry, isec: 0n, insec: 0n, vsec: 0n, vnsec: 0n })).toBeUndefined();
  });
});
