/** Terminals: which is which, CRIU's numbers for them, settings as CRIU packs them, and the plan of a restore. */
import { describe, expect, test } from 'bun:test';
import type { FileEntry } from '../../../../src/images/schema/files.ts';
import { type TtyInfoEntry, TtyType } from '../../../../src/images/schema/tty.ts';
import { kernelDev, major, minor, userDev } from '../../../../src/kernel/devnum.ts';
import { planTerminals, ptyNumber, wasHung } from '../../../../src/kinds/file/tty/plan.ts';
import { externalKey, infoId, roleOf, typeOf } from '../../../../src/kinds/file/tty/terminal.ts';
import { termiosMessage, termiosOf, winsizeMessage, winsizeOf } from '../../../../src/kinds/file/tty/termios.ts';

const device = (high: number, low: number): number => userDev(high * 2 ** 20 + low);

describe('device numbers', () => {
  test('both forms', () => {
    for (const [high, low] of [
      [136, 3],
      [5, 2],
      [254, 0],
      [4095, 1048575],
      [136, 70000],
    ] as const) {
      const kernel = high * 2 ** 20 + low;
      expect([major(userDev(kernel)), minor(userDev(kernel))]).toEqual([high, low]);
      expect(kernelDev(userDev(kernel))).toBe(kernel);
    }
    expect(device(136, 3)).toBe(0x8803);
  });
});

describe('roles', () => {
  test.each([
    [5, 0, 'current'],
    [5, 1, 'console'],
    [5, 2, 'master'],
    [4, 1, 'vt'],
    [4, 63, 'vt'],
    [136, 0, 'slave'],
    [136, 300, 'slave'],
    [143, 7, 'slave'],
    [128, 7, 'master'],
    [188, 0, 'serial'],
    [204, 64, 'serial'],
  ] as const)('%d:%d is a %s', (high, low, role) => expect(roleOf(device(high, low))).toBe(role));

  test.each([
    [4, 0],
    [4, 64],
    [5, 3],
    [1, 3],
    [0, 0],
    [144, 0],
  ])('%d:%d is none we carry', (high, low) => expect(roleOf(device(high, low))).toBeUndefined());

  test('the numbers CRIU gives', () => {
    // Recorded: a pty with number 0, its controlling /dev/tty.
    expect([infoId('slave', 0), infoId('master', 0), infoId('current', 0)]).toEqual([0, 1, 2012]);
    expect([infoId('slave', 7), infoId('master', 7)]).toEqual([14, 15]);
    const others = [infoId('console', 0), infoId('vt', 0), infoId('serial', 0), infoId('external', 1)];
    expect(others).toEqual([2004, 2008, 2020, 2026]);
    expect([typeOf('master'), typeOf('current')]).toEqual([TtyType.PTY, TtyType.CTTY]);
    expect(externalKey(0x8801, 0x1a)).toBe('tty[8801:1a]');
  });
});

describe('settings', () => {
  // What criu 4.2 wrote for a fresh pty, and the bytes `stty` would show: ^C ^\ ^? ^U ^D …
  const words = [360651779, 65540, 1708817, 370609938, 0];
  const characters = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0];

  test('characters are packed four to a word', () => {
    const termios = { iflag: 1280, oflag: 5, cflag: 191, lflag: 35387, line: 0, cc: characters };
    const message = termiosMessage(termios);
    expect([...(message.c_cc ?? [])].slice(0, 5)).toEqual(words);
    expect(message.c_cc?.length).toBe(19);
    expect(termiosOf({ ...message, c_cc: [...(message.c_cc ?? [])] })).toEqual(termios);
  });

  test('what CRIU leaves in the rest does not matter', () => {
    const junk = [49, 0, 2219818208, 32631];
    const c_cc = [...words, 0, 0, 0, 0, 0, ...junk, ...junk].slice(0, 19);
    const flags = { c_iflag: 1, c_oflag: 2, c_cflag: 3, c_lflag: 4, c_line: 5, c_ispeed: 0, c_ospeed: 0 };
    expect(termiosOf({ ...flags, c_cc }).cc).toEqual(characters);
  });

  test('sizes', () => {
    const size = { rows: 24, cols: 80, xpixel: 1, ypixel: 2 };
    expect(winsizeOf(winsizeMessage(size))).toEqual(size);
  });
});

describe('the plan of a restore', () => {
  const fown = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 };
  const file = (id: number, info: number): FileEntry =>
    ({ type: 11, id, tty: { id, tty_info_id: info, flags: 2, fown } }) as FileEntry;
  const info = (id: number, rdev: number, more: Partial<TtyInfoEntry> = {}): TtyInfoEntry => ({
    id,
    type: TtyType.PTY,
    locked: false,
    exclusive: false,
    packet_mode: false,
    sid: 0,
    pgrp: 0,
    rdev,
    pty: { index: id >> 1 },
    ...more,
  });

  test('masters and slaves find each other by number', () => {
    const infos = [info(6, device(136, 3)), info(7, device(5, 2)), info(10, device(136, 5))];
    const plan = planTerminals([file(1, 6), file(2, 7), file(3, 6), file(4, 10)], infos);
    expect(plan.masters.get(3)?.id).toBe(2);
    expect(plan.slaves.get(3)?.map(({ id }) => id)).toEqual([1, 3]);
    expect(plan.masters.get(5)).toBeUndefined();
    const orphan = plan.byId.get(4);
    expect(orphan && [ptyNumber(orphan), wasHung(orphan), orphan.role]).toEqual([5, true, 'slave']);
  });

  test('what does not fit together is an error of the image', () => {
    expect(() => planTerminals([file(1, 6)], [])).toThrow('no terminal 6');
    expect(() => planTerminals([file(1, 6)], [info(6, device(1, 3))])).toThrow('no terminal');
    expect(() => planTerminals([file(1, 6)], [info(6, device(136, 3), { pty: undefined })])).toThrow('no field pty');
  });
});
