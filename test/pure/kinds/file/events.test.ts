/** Files that report events: the pure parts of how they are saved and set again. */
import { describe, expect, test } from 'bun:test';
import type { TimerfdEntry } from '../../../../src/images/schema/events.ts';
import { ordersOf } from '../../../../src/kinds/file/epoll/targets.ts';
import { settingOf, timespecOf } from '../../../../src/kinds/file/timerfd/setting.ts';
import { handleMessage, handleOf } from '../../../../src/paths/watched.ts';

describe('timerfd', () => {
  const entry: TimerfdEntry = {
    id: 1,
    flags: 2,
    fown: { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 },
    clockid: 1,
    ticks: 0n,
    settime_flags: 0,
    vsec: 3599n,
    vnsec: 229433471n,
    isec: 3n,
    insec: 0n,
  };
  const now = (): bigint => 1_000_000_000_000n;

  test('the time left', () => {
    expect(settingOf(entry, now)).toEqual({ flags: 0, value: 3_599_229_433_471n, interval: 3_000_000_000n });
    expect(timespecOf(3_599_229_433_471n)).toEqual([3599n, 229433471n]);
  });

  test('absolute times are so again', () => {
    const setting = settingOf({ ...entry, settime_flags: 3, isec: 0n }, now);
    expect(setting).toEqual({ flags: 3, value: 4_599_229_433_471n, interval: 0n });
  });

  test('a disarmed timer stays disarmed, an expired one too', () => {
    const still = { ...entry, vsec: 0n, vnsec: 0n };
    expect(settingOf(still, now).value).toBe(0n);
    expect(settingOf({ ...still, isec: 0n, ticks: 1n, settime_flags: 1 }, now).value).toBe(0n);
  });

  test('a periodic timer nobody has read goes on', () => {
    expect(settingOf({ ...entry, vsec: 0n, vnsec: 0n, ticks: 1n }, now).value).toBe(1n);
  });
});

describe('epoll', () => {
  test('targets that were added under the same number are told apart by their order', () => {
    const target = (tfd: number) => ({ tfd, events: 1, data: 0n, pos: 0n, ino: 1n, sdev: 1 });
    expect(ordersOf([5, 7, 5, 5, 7].map(target))).toEqual([0, 0, 1, 2, 1]);
  });
});

describe('file handles', () => {
  test('as criu 4.2 wrote one', () => {
    const handle = { type: 1, bytes: new Uint8Array(Buffer.from('57c120004afc3abf', 'hex')) };
    const message = handleMessage(handle);
    expect([message.bytes, message.type, message.handle?.length]).toEqual([8, 1, 16]);
    expect(message.handle?.[0]).toBe(0xbf3afc4a0020c157n);
    expect(handleOf({ bytes: 8, type: 1, handle: [0xbf3afc4a0020c157n, ...Array<bigint>(15).fill(0n)] })).toEqual(
      handle,
    );
  });

  test('of odd lengths, and longer than CRIU has room for', () => {
    const bytes = Uint8Array.from({ length: 13 }, (_, i) => i + 1);
    const { handle = [] } = handleMessage({ type: 2, bytes });
    expect(handleOf({ bytes: 13, type: 2, handle: handle.map(BigInt) }).bytes).toEqual(bytes);
  });
});
