import { describe, expect, test } from 'bun:test';
import { SIG, signalBit, signalName } from '../../../src/kernel/constants/signals.ts';
import { capBit } from '../../../src/kernel/constants/tasks.ts';
import * as files from '../../../src/kernel/layouts/files.ts';
import * as inet from '../../../src/kernel/layouts/inet.ts';
import * as memory from '../../../src/kernel/layouts/memory.ts';
import * as ptrace from '../../../src/kernel/layouts/ptrace.ts';
import * as signals from '../../../src/kernel/layouts/signals.ts';
import * as sockets from '../../../src/kernel/layouts/sockets.ts';
import {
  array,
  bytes,
  decodeAll,
  encodeAll,
  i16,
  i32,
  i64,
  struct,
  u8,
  u16,
  u64,
} from '../../../src/kernel/layouts/struct.ts';
import * as tasks from '../../../src/kernel/layouts/tasks.ts';
import * as time from '../../../src/kernel/layouts/time.ts';
import * as tty from '../../../src/kernel/layouts/tty.ts';

describe('struct', () => {
  const Inner = struct({ a: u8, b: i64 });
  const Outer = struct({ tag: u16, inner: Inner, list: array(i16, 3), raw: bytes(5), end: i32 });

  test('aligns as C does', () => {
    expect(Inner).toMatchObject({ size: 16, align: 8, offsets: { a: 0, b: 8 } });
    expect(Outer).toMatchObject({ size: 40, offsets: { tag: 0, inner: 8, list: 24, raw: 30, end: 36 } });
    expect(struct({ a: u8, b: u64 }, { packed: true })).toMatchObject({ size: 9, align: 1, offsets: { b: 1 } });
  });

  test('round trip, at any offset of any buffer', () => {
    const value = {
      tag: 65535,
      inner: { a: 1, b: -(2n ** 63n) },
      list: [-1, 2, -32768],
      raw: Uint8Array.of(1, 2, 3, 4, 5),
      end: -7,
    };
    const room = new Uint8Array(100).fill(0xee).subarray(3);
    Outer.encodeInto(room, 10, value);
    expect(Outer.decode(room, 10)).toEqual(value);
    expect(room[9]).toBe(0xee);
    expect(room[50]).toBe(0xee);
    expect(room[10 + 9]).toBe(0); // padding is cleared
    expect(Outer.decode(Outer.encode(value))).toEqual(value);
  });

  test('what is not given is zero', () => {
    const room = new Uint8Array(40).fill(0xff);
    Outer.encodeInto(room, 0, { tag: 1, list: [5] });
    expect(Outer.decode(room)).toMatchObject({ tag: 1, inner: { a: 0, b: 0n }, list: [5, 0, 0], end: 0 });
  });

  test('too much or too little', () => {
    expect(() => Outer.encode({ raw: new Uint8Array(6) })).toThrow(RangeError);
    expect(() => Outer.encode({ list: [1, 2, 3, 4] })).toThrow(RangeError);
    expect(() => Outer.decode(new Uint8Array(39))).toThrow(RangeError);
    const Raw = struct({ raw: bytes(8) });
    expect(() => Raw.decode(new Uint8Array(16).subarray(0, 7))).toThrow(RangeError);
  });

  test('several in a row', () => {
    const items = [{ start: 1n, end: 2n, categories: 3n }, { start: 4n }];
    const encoded = encodeAll(memory.PageRegion, items);
    expect(encoded.length).toBe(48);
    expect(decodeAll(memory.PageRegion, encoded)[1]).toEqual({ start: 4n, end: 0n, categories: 0n });
  });

  test('decoded bytes are a copy', () => {
    const from = Outer.encode({ raw: Uint8Array.of(9) });
    const { raw } = Outer.decode(from);
    from.fill(1);
    expect(raw).toEqual(Uint8Array.of(9, 0, 0, 0, 0));
  });
});

test('sizes and places, as gcc gives them for the headers of Linux on x86-64', () => {
  const sizes: [name: string, layout: { size: number }, size: number][] = [
    ['itimerspec', time.Itimerspec, 32],
    ['itimerval', time.Itimerval, 32],
    ['kernel_sigaction', signals.Sigaction, 32],
    ['stack_t', signals.StackT, 24],
    ['sigevent', signals.Sigevent, 64],
    ['rlimit64', tasks.Rlimit64, 16],
    ['clone_args', tasks.CloneArgs, 88],
    ['prctl_mm_map', tasks.PrctlMmMap, 104],
    ['sched_attr', tasks.SchedAttr, 56],
    ['robust_list_head', tasks.RobustListHead, 24],
    ['rseq_cs', tasks.RseqCs, 32],
    ['ptrace_peeksiginfo_args', ptrace.PeeksiginfoArgs, 16],
    ['ptrace_rseq_configuration', ptrace.RseqConfiguration, 24],
    ['seccomp_metadata', ptrace.SeccompMetadata, 16],
    ['iovec', memory.Iovec, 16],
    ['pm_scan_arg', memory.PmScanArg, 96],
    ['page_region', memory.PageRegion, 24],
    ['procmap_query', memory.ProcmapQuery, 104],
    ['fiemap', memory.Fiemap, 32],
    ['fiemap_extent', memory.FiemapExtent, 56],
    ['f_owner_ex', files.FOwnerEx, 8],
    ['flock', files.Flock, 32],
    ['epoll_event (x86-64)', files.EpollEvent, 12],
    ['msghdr', sockets.Msghdr, 56],
    ['tcp_info, its beginning', inet.TcpInfo, 32],
    ['tcp_repair_window', inet.RepairWindow, 20],
    ['tcp_repair_opt', inet.RepairOption, 8],
    ['termios', tty.Termios, 36],
    ['termios2', tty.Termios2, 44],
    ['winsize', tty.Winsize, 8],
  ];
  for (const [name, layout, size] of sizes) expect([name, layout.size]).toEqual([name, size]);
  expect(files.Statx.offsets).toMatchObject({ ino: 32, atime: 64, rdevMajor: 128, devMajor: 136, mntId: 144 });
  expect(tasks.PrctlMmMap.offsets).toMatchObject({ auxv: 88, auxvSize: 96, exeFd: 100 });
});

test('siginfo', () => {
  const info = signals.encodeSiginfo({ signo: SIG.RTMAX, code: -1, pid: 17, uid: 4294967294, value: 2n ** 64n - 1n });
  expect(info.length).toBe(128);
  expect(signals.Siginfo.decode(info)).toMatchObject({
    signo: 64,
    errno: 0,
    code: -1,
    pid: 17,
    uid: 4294967294,
    value: 2n ** 64n - 1n,
  });
  expect(signals.SiginfoTimer.decode(info)).toMatchObject({ timerId: 17, overrun: -2 });
  expect([signalName(9), signalName(34), signalName(64), signalName(65)]).toEqual([
    'SIGKILL',
    'SIGRT34',
    'SIGRT64',
    '65',
  ]);
  expect([signalBit(1), signalBit(64)]).toEqual([1n, 1n << 63n]);
});

test('capabilities', () => {
  const sets = {
    effective: capBit('CHOWN') | capBit('CHECKPOINT_RESTORE'),
    permitted: 0x1ffffffffffn,
    inheritable: 1n << 31n,
  };
  const encoded = tasks.encodeCapSets(sets);
  expect(encoded.length).toBe(24);
  expect(tasks.decodeCapSets(encoded)).toEqual(sets);
});

describe('control data', () => {
  test('round trip', () => {
    for (const count of [0, 1, 2, 3, 253]) {
      const fds = Array.from({ length: count }, (_, i) => i * 3);
      const control = sockets.encodeControl(fds);
      expect(control.length % 8).toBe(0);
      expect(control.length).toBe(count === 0 ? 0 : sockets.rightsSpace(count));
      expect(sockets.decodeControl(control).rights).toEqual(fds);
    }
    expect(() => sockets.encodeControl(new Array(254).fill(1))).toThrow(RangeError);
  });

  test('a sender besides; torn messages end the list, others are told', () => {
    const sender = { pid: 17, uid: 1000, gid: 0xffff_fffe };
    const both = sockets.encodeControl([5, 6, 7], sender);
    const none = { pidfd: undefined, unknown: undefined };
    expect(sockets.decodeControl(both)).toEqual({ rights: [5, 6, 7], sender, ...none });
    expect(sockets.decodeControl(both.subarray(0, both.length - 8))).toEqual({ rights: [], sender, ...none });
    expect(sockets.decodeControl(new Uint8Array(64)).rights).toEqual([]);
    both[12] = 29; // SCM_TIMESTAMP
    expect(sockets.decodeControl(both)).toEqual({ rights: [5, 6, 7], sender: undefined, ...none });
    both[12] = 4; // SCM_PIDFD
    expect(sockets.decodeControl(both)).toMatchObject({ pidfd: 17 });
    both[12] = 3; // SCM_SECURITY
    expect(sockets.decodeControl(both)).toMatchObject({ sender: undefined, unknown: 3 });
  });
});
