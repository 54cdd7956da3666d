import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { O } from '../../../../src/kernel/constants/files.ts';
import type { EpollTarget } from '../../../../src/kernel/proc/fddetail.ts';
import { parseFdInfo } from '../../../../src/kernel/proc/fdinfo.ts';
import { parseLockLine, parseLocks } from '../../../../src/kernel/proc/locks.ts';
import { parseMountInfo } from '../../../../src/kernel/proc/mountinfo.ts';
import { parseStat } from '../../../../src/kernel/proc/stat.ts';
import { ascii, proc } from './fixtures.ts';

const fd = (name: string) => parseFdInfo(proc(`6.18/odd/fdinfo/${name}`));
/** The kernel lists them in the order of addresses of its own. */
const byTfd = (targets: readonly EpollTarget[]) => [...targets].sort((a, b) => a.tfd - b.tfd);
const PID = parseStat(proc('6.18/odd/stat')).pid;

describe('fdinfo', () => {
  test('regular files and directories', () => {
    const regular = fd('regular');
    expect(regular).toMatchObject({ pos: 12345n, locks: [], detail: { kind: 'none' } });
    expect(regular.flags).toBe(O.RDWR | O.APPEND | O.NONBLOCK | O.LARGEFILE | O.CLOEXEC);
    expect(regular.ino).toBeGreaterThan(0n);
    expect(fd('o_path').flags & O.PATH).toBe(O.PATH);
    expect(fd('memfd').detail.kind).toBe('none');
  });

  test('eventfd: the count is hexadecimal', () => {
    expect(fd('eventfd').detail).toMatchObject({ kind: 'eventfd', count: 0x1234n, semaphore: false });
    expect(fd('eventfd-semaphore').detail).toMatchObject({ kind: 'eventfd', count: 3n, semaphore: true });
    expect(parseFdInfo(proc('3.10/fdinfo/eventfd'))).toMatchObject({
      ...{
        mntId: -1,
        ino: undefined,
        detail: { kind: 'eventfd', count: 2n ** 64n - 2n, id: undefined, semaphore: undefined },
      },
    });
  });

  test('epoll', () => {
    const { detail } = fd('epoll');
    expect(detail.kind === 'epoll' && byTfd(detail.targets).map((t) => [t.tfd, t.events, t.data, t.pos])).toEqual([
      [5, 0x80000019, 0xdeadbeefcafebaben, 0n],
      [6, 0x4000001c, 1n, 0n],
    ]);
    expect(fd('epoll-empty').detail).toEqual({ kind: 'none' });
    const old = parseFdInfo(proc('3.10/fdinfo/epoll')).detail;
    const target = { tfd: 5, events: 0x1d, data: 2n ** 64n - 1n };
    expect(old).toEqual({ kind: 'epoll', targets: [{ ...target, pos: undefined, ino: undefined, sdev: undefined }] });
    const newer = parseFdInfo(proc('4.19/fdinfo/epoll')).detail;
    expect(newer).toEqual({ kind: 'epoll', targets: [{ ...target, pos: -1n, ino: 0x61afn, sdev: 7 }] });
  });

  test('signalfd, timerfd', () => {
    expect(fd('signalfd').detail).toEqual({ kind: 'signalfd', sigmask: (1n << 62n) | (1n << 11n) });
    expect(fd('timerfd').detail).toMatchObject({
      ...{ kind: 'timerfd', clockId: 1, ticks: 0n, settimeFlags: 0, interval: { sec: 5n, nsec: 7n } },
    });
    const absolute = fd('timerfd-abs').detail;
    expect(absolute).toMatchObject({ kind: 'timerfd', clockId: 0, settimeFlags: 3, interval: { sec: 0n, nsec: 0n } });
  });

  test('inotify: watch descriptors are hexadecimal', () => {
    const { detail } = fd('inotify');
    if (detail.kind !== 'inotify') throw new Error(detail.kind);
    expect(detail.watches.map((w) => w.wd).sort((a, b) => a - b)).toEqual(Array.from({ length: 13 }, (_, i) => i + 1));
    const first = detail.watches.find((w) => w.wd === 1);
    expect(first).toMatchObject({ mask: 0xfff, ignoredMask: 0, handle: { type: 1 } });
    expect(first?.handle?.bytes.length).toBe(8);
    expect(fd('inotify-empty').detail).toEqual({ kind: 'none' });
    const old = parseFdInfo(proc('3.10/fdinfo/inotify')).detail;
    expect(old).toEqual({
      kind: 'inotify',
      watches: [
        {
          ...{ wd: 2, ino: 0x100ean, sdev: 0x800003, mask: 0x800afce, ignoredMask: 0 },
          handle: { type: 1, bytes: Uint8Array.of(0xea, 0, 1, 0, 0x42, 0xec, 0x3c, 0x0c) },
        },
        { wd: 1, ino: 7n, sdev: 0x2c, mask: 0xfff, ignoredMask: 0, handle: undefined },
      ],
    });
  });

  test('fanotify', () => {
    const { detail } = fd('fanotify');
    if (detail.kind !== 'fanotify') throw new Error(detail.kind);
    expect(detail).toMatchObject({ flags: 0x21, eventFlags: 0o100000 });
    expect(detail.marks.map((m) => m.on)).toEqual(['filesystem', 'inode', 'mount', 'inode']);
    expect(detail.marks[1]).toMatchObject({ markFlags: 0x40, mask: 0, ignoredMask: 8 });
    const namespace = parseFdInfo(proc('6.6/fdinfo/fanotify-mntns')).detail;
    expect(namespace).toMatchObject({
      kind: 'fanotify',
      marks: [{ on: 'mntns', mntNs: 4026531841n, mask: 0x3000000 }],
    });
  });

  test('pidfd, pty master, tun', () => {
    expect(fd('pidfd').detail).toEqual({ kind: 'pidfd', pid: PID, nsPid: [PID] });
    expect(fd('pidfd-dead').detail).toEqual({ kind: 'pidfd', pid: -1, nsPid: [-1] });
    expect(parseFdInfo(proc('4.19/fdinfo/pidfd')).detail).toEqual({ kind: 'pidfd', pid: 512, nsPid: [512, 3, 1] });
    expect(fd('ptmx').detail).toEqual({ kind: 'pty', index: 0 });
    expect(fd('tun').detail).toEqual({ kind: 'tun', interface: 'stsfix0' });
  });

  test('what cannot be carried is recognised', () => {
    for (const [name, kind] of [
      ['userfaultfd', 'userfaultfd'],
      ['io_uring', 'ioUring'],
      ['bpf-map', 'bpfMap'],
      ['unix', 'unixSocket'],
    ] as const) {
      expect(fd(name).detail.kind).toBe(kind);
    }
    const dmabuf = parseFdInfo(proc('6.6/fdinfo/dmabuf')).detail;
    expect(dmabuf.kind === 'other' && dmabuf.values.get('exp_name')).toBe('udmabuf');
  });

  test('locks', () => {
    expect(fd('locked').locks.map((l) => [l.kind, l.type, l.pid, l.start, l.end])).toEqual([
      ['FLOCK', 'READ', PID, 0n, undefined],
      ['POSIX', 'WRITE', PID, 10n, 29n],
      ['POSIX', 'READ', PID, 100n, undefined],
    ]);
    expect(fd('ofd-locked').locks).toMatchObject([{ kind: 'OFD', pid: -1, start: 50n, end: 50n }]);
    expect(fd('leased').locks).toMatchObject([{ kind: 'LEASE', mode: 'ACTIVE', type: 'WRITE' }]);
    const old = parseFdInfo(proc('4.4/fdinfo/lock'));
    expect(old).toMatchObject({ pos: 2n ** 63n - 1n, mntId: 61 });
    expect(old.locks[1]).toMatchObject({
      mode: 'MANDATORY',
      devMajor: 8,
      devMinor: 3,
      ino: 1835n,
      end: 2n ** 63n - 2n,
    });
  });

  test('a negative position; damage', () => {
    expect(parseFdInfo(proc('3.10/fdinfo/regular')).pos).toBe(-1n);
    for (const bad of [
      ...['', 'pos:\t0\n', 'pos:\tx\nflags:\t0\n', 'pos:\t0\nflags:\tz\n', 'pos:\t0\nflags:\t0\nlock:\t1: POSIX\n'],
      ...['pos:\t0\nflags:\t0\nclockid: 1\n', 'pos:\t0\nflags:\t0\ntfd: 5\n', 'pos:\t0\nflags:\t0\nPid:\t\n'],
      'pos:\t0\nflags:\t0\ninotify wd:1 ino:7 sdev:2c mask:fff ignored_mask:0 fhandle-bytes:9 fhandle-type:1 f_handle:00\n',
    ]) {
      expect(() => parseFdInfo(ascii(bad))).toThrow(StasisError);
    }
  });
});

describe('locks', () => {
  test('recorded, with waiters', () => {
    const locks = parseLocks(proc('6.18/locks'));
    expect(locks.map((l) => `${l.kind} ${l.type}${l.blocked ? ' blocked' : ''}`)).toEqual([
      ...['LEASE WRITE', 'OFD WRITE', 'FLOCK READ', 'FLOCK WRITE blocked'],
      ...['POSIX READ', 'POSIX WRITE', 'POSIX WRITE blocked'],
    ]);
    const waiter = locks.find((l) => l.blocked && l.kind === 'POSIX');
    expect(waiter?.id).toBe(locks.find((l) => l.kind === 'POSIX' && l.start === 10n)?.id as number);
  });

  test('older kinds; waiters of waiters', () => {
    const locks = parseLocks(proc('4.4/locks'));
    expect(locks.map((l) => l.mode)).toContain('MSNFS');
    expect(locks.find((l) => l.kind === 'OFD')).toMatchObject({
      devMajor: 0x103,
      devMinor: 10,
      ino: 2n ** 64n - 1n,
      pid: -1,
    });
    expect(locks.find((l) => l.kind === 'DELEG')).toBeDefined();
    expect(locks.at(-1)).toMatchObject({ mode: '*NOINODE*', type: 'UNLCK', ino: 0n, pid: 77 });
    expect(parseLocks(proc('5.10/locks')).map((l) => [l.blocked, l.pid])).toEqual([
      [false, 10],
      [true, 11],
      [true, 12],
    ]);
    expect(() => parseLockLine('1: WHAT ADVISORY READ 1 08:01:2 0 EOF')).toThrow(StasisError);
  });
});

describe('mountinfo', () => {
  const mounts = parseMountInfo(proc('6.18/mountinfo'));
  const on = (name: string) => {
    const found = mounts.find((m) => m.mountPoint === `/tmp/mf/${name}`);
    if (!found) throw new Error(`nothing on ${name}`);
    return found;
  };

  test('names with blanks, newlines, backslashes, hyphens, other bytes', () => {
    expect(on('sp ace')).toMatchObject({ source: 'sou rce #1', fsType: 'tmpfs', root: '/' });
    expect(on('new\nline').source).toBe('');
    expect(on('back\\slash')).toMatchObject({ source: 'x\\y', superOptions: 'ro,size=1024k' });
    expect(on('ha#sh').mountPoint).toBe('/tmp/mf/ha#sh');
    expect(on('tab\t').source).toBe('none');
    expect(on('a - b')).toMatchObject({ source: '-', options: ['rw', 'nosuid', 'nodev', 'noexec', 'relatime'] });
    expect(on('\udcff\udcfe').mountPoint).toBe('/tmp/mf/\udcff\udcfe');
  });

  test('propagation', () => {
    expect(on('shared')).toMatchObject({ shared: 1, master: undefined, unbindable: false });
    expect(on('slave')).toMatchObject({ shared: undefined, master: 1 });
    expect(on('ss')).toMatchObject({ shared: 2, master: 1 });
    expect(on('unb').unbindable).toBe(true);
  });

  test('removed roots, namespaces, overlay', () => {
    expect(on('bindgone')).toMatchObject({ root: '/gone', rootDeleted: true });
    expect(on('netns')).toMatchObject({ fsType: 'nsfs', root: expect.stringMatching(/^uts:\[\d+\]$/) });
    expect(on('ov').superOptions).toContain('lowerdir=ov_l,');
  });

  test('tags that are new, types with a subtype', () => {
    expect(parseMountInfo(proc('5.10/mountinfo'))[1]).toEqual({
      ...{
        mountId: 36,
        parentId: 35,
        devMajor: 98,
        devMinor: 0,
        root: '/mnt1',
        rootDeleted: false,
        mountPoint: '/mnt2',
      },
      ...{
        options: ['rw', 'noatime'],
        shared: 12,
        master: 1,
        propagateFrom: 2,
        unbindable: false,
        otherTags: ['future:9'],
      },
      ...{ fsType: 'fuse.sshfs', source: '/dev/root', superOptions: 'rw,user=a,b' },
    });
  });

  test('damage', () => {
    for (const bad of [
      'x\n',
      '1 2 0:1 / / rw\n',
      '1 2 0:1 / / rw - tmpfs\n',
      'a 2 0:1 / / rw - tmpfs none rw\n',
      '\n',
    ]) {
      expect(() => parseMountInfo(ascii(bad))).toThrow(StasisError);
    }
  });
});
