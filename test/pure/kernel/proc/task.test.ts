import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { AUX, capBit, RLIM_INFINITY } from '../../../../src/kernel/constants/tasks.ts';
import { auxValue, auxvWords, parseAuxv } from '../../../../src/kernel/proc/auxv.ts';
import { parseCgroup } from '../../../../src/kernel/proc/cgroup.ts';
import { parseLimits } from '../../../../src/kernel/proc/limits.ts';
import { parseIdMap, parseNsLink, parseTimeOffsets } from '../../../../src/kernel/proc/namespaces.ts';
import { parseStat } from '../../../../src/kernel/proc/stat.ts';
import { parseStatus } from '../../../../src/kernel/proc/status.ts';
import { parseTimers } from '../../../../src/kernel/proc/timers.ts';
import * as values from '../../../../src/kernel/proc/values.ts';
import { ascii, proc } from './fixtures.ts';

/** `) S 1 (`, newline, backslash, tab, and a byte that is not UTF-8. */
const ODD_COMM = ') S 1 (\n\\\t\udcff';

describe('stat', () => {
  test('a comm made to look like the fields after it', () => {
    const stat = parseStat(proc('6.18/odd/stat'));
    expect(stat.comm).toBe(ODD_COMM);
    expect(stat).toMatchObject({
      state: 'S',
      ppid: 1,
      ttyNr: 0,
      tpgid: -1,
      numThreads: 1,
      exitSignal: 17,
      exitCode: 0,
    });
    const status = parseStatus(proc('6.18/odd/status'));
    expect(stat.pid).toBe(status.pid);
    expect([stat.pgrp, stat.session]).toEqual([status.nsPgid?.[0] as number, status.nsSid?.[0] as number]);
  });

  test('addresses agree with maps and auxv', () => {
    const stat = parseStat(proc('6.18/sleep/stat'));
    expect(stat.comm).toBe('sleep');
    expect(stat.startCode < stat.endCode && stat.endCode < stat.startData && stat.startData < stat.endData).toBe(true);
    expect(stat.argStart < stat.argEnd && stat.argEnd <= stat.envStart && stat.envStart <= stat.envEnd).toBe(true);
    const execfn = auxValue(parseAuxv(proc('6.18/sleep/auxv')), AUX.EXECFN) as bigint;
    expect(execfn >= stat.envEnd && execfn - stat.envEnd < 4096n).toBe(true);
  });

  test('a zombie has an exit code and no memory', () => {
    expect(parseStat(proc('6.18/zombie/stat'))).toMatchObject({
      state: 'Z',
      exitCode: 7 << 8,
      startCode: 0n,
      startStack: 0n,
    });
  });

  test('3.10; user addresses beyond 2^53 are exact', () => {
    const old = parseStat(proc('3.10/stat'));
    expect(old).toMatchObject({
      pid: 4321,
      comm: 'a) R 1 (b\nc',
      ttyNr: 34816,
      tpgid: 4321,
      starttime: 27437,
      startBrk: 29794304n,
    });
    const la57 = parseStat(proc('5.10/stat'));
    expect(la57).toMatchObject({ startCode: 2n ** 56n - 4095n, envEnd: 2n ** 56n - 4079n, exitCode: 9, state: 'T' });
  });

  test('kernel thread', () => {
    expect(parseStat(proc('6.18/kthread/stat'))).toMatchObject({ pid: 2, comm: 'kthreadd', ppid: 0 });
  });

  test('damage', () => {
    for (const bad of ['', '1', '1 (', '1 (a', '1 (a) S 1', '(a) S 1', `1 (a) S ${'x '.repeat(60)}`]) {
      expect(() => parseStat(ascii(bad)).ppid).toThrow(StasisError);
    }
  });
});

describe('status', () => {
  test('6.18', () => {
    const status = parseStatus(proc('6.18/odd/status'));
    expect(status).toMatchObject({
      ...{ name: ODD_COMM, state: 'S', ppid: 1, tracerPid: 0, umask: 0o022, hasMemory: true },
      ...{ uid: { real: 0, effective: 0, saved: 0, fs: 0 }, groups: [4, 20, 4294967000], threads: 1 },
      ...{
        coreDumping: false,
        noNewPrivs: true,
        seccomp: 0,
        seccompFilters: 0,
      },
      ...{ sigCgt: 0n, capInh: 0n, capAmb: 0n },
    });
    expect(status.nsPid).toEqual([status.pid]);
    expect(status.capEff & capBit('SYS_RESOURCE')).toBe(0n);
    expect(status.capEff & capBit('CHECKPOINT_RESTORE')).toBe(1n << 40n);
  });

  test('zombies and kernel threads have no memory', () => {
    const zombie = parseStatus(proc('6.18/zombie/status'));
    expect(zombie).toMatchObject({
      state: 'Z',
      hasMemory: false,
      umask: undefined,
      coreDumping: undefined,
    });
    expect(parseStatus(proc('6.18/kthread/status'))).toMatchObject({
      hasMemory: false,
      name: 'kthreadd',
    });
  });

  test('3.10: hardly anything optional', () => {
    const status = parseStatus(proc('3.10/status'));
    expect(status).toMatchObject({
      ...{ name: 'a b\nc\\d', tgid: 4321, pid: 4322, groups: [4, 24, 27], seccomp: 0, threads: 3 },
      ...{
        uid: { real: 1000, effective: 1001, saved: 1002, fs: 1003 },
        gid: { real: 100, effective: 101, saved: 102, fs: 103 },
      },
      ...{ capPrm: 0x1fffffffffn },
    });
    for (const key of ['umask', 'nsPid', 'nsSid', 'capAmb', 'noNewPrivs', 'seccompFilters'] as const) {
      expect(status[key]).toBeUndefined();
    }
  });

  test('4.4, 4.19, 5.10, 6.6', () => {
    expect(parseStatus(proc('4.4/status'))).toMatchObject({
      ...{
        state: 't',
        tracerPid: 99,
        groups: [],
        nsPid: [4322, 18, 2],
        nsSid: [4300, 0, 0],
        capAmb: 0x400n,
        seccomp: 2,
      },
      ...{ noNewPrivs: undefined, umask: undefined },
    });
    expect(parseStatus(proc('4.19/status'))).toMatchObject({
      ...{
        state: 'T',
        umask: 0o077,
        coreDumping: true,
        noNewPrivs: true,
        seccomp: 1,
      },
    });
    expect(parseStatus(proc('5.10/status'))).toMatchObject({
      state: 'R',
      seccompFilters: 3,
    });
    expect(parseStatus(proc('6.6/status'))).toMatchObject({
      ...{
        state: 'D',
      },
    });
  });

  test('a name of blanks keeps them', () => {
    const text = Buffer.from(proc('3.10/status')).toString('latin1').replace('a b\\nc\\\\d', '  x: \t ');
    expect(parseStatus(ascii(text)).name).toBe('  x: \t ');
  });

  test('damage', () => {
    const whole = proc('6.18/sleep/status');
    for (let length = 0; length < 700; length += 7)
      expect(() => parseStatus(whole.subarray(0, length))).toThrow(StasisError);
  });
});

describe('limits', () => {
  test('recorded', () => {
    const limits = parseLimits(proc('6.18/odd/limits'));
    expect(limits.length).toBe(16);
    expect(limits[0]).toEqual({ cur: RLIM_INFINITY, max: RLIM_INFINITY });
    expect(limits[3]).toEqual({ cur: 8388608n, max: RLIM_INFINITY });
    expect(limits[12]).toEqual({ cur: 819200n, max: 819200n });
  });

  test('a value as wide as its column; 2^64-2 is not unlimited', () => {
    const limits = parseLimits(proc('5.10/limits'));
    expect(limits[0]).toEqual({ cur: RLIM_INFINITY - 1n, max: RLIM_INFINITY });
    expect(limits[7]).toEqual({ cur: 1024n, max: 1048576n });
    expect([limits[13], limits[14]]).toEqual([
      { cur: 40n, max: 40n },
      { cur: 99n, max: 99n },
    ]);
  });

  test('damage', () => {
    expect(() => parseLimits(ascii(''))).toThrow(StasisError);
    expect(() => parseLimits(proc('5.10/limits').subarray(0, 900))).toThrow(StasisError);
  });
});

describe('auxv', () => {
  test('recorded', () => {
    const bytes = proc('6.18/odd/auxv');
    const entries = parseAuxv(bytes);
    expect(auxValue(entries, AUX.PAGESZ)).toBe(4096n);
    expect(auxValue(entries, AUX.CLKTCK)).toBe(100n);
    expect(entries.some((e) => e.type === AUX.NULL)).toBe(false);
    expect(auxvWords(bytes).length).toBe(bytes.length / 8);
  });
  test('none for a zombie; half a pair is refused', () => {
    expect(parseAuxv(ascii(''))).toEqual([]);
    expect(() => parseAuxv(new Uint8Array(24))).toThrow(StasisError);
  });
});

describe('timers', () => {
  test('recorded', () => {
    const timers = parseTimers(proc('6.18/odd/timers'));
    const pid = parseStat(proc('6.18/odd/stat')).pid;
    expect(timers.sort((a, b) => a.id - b.id)).toEqual([
      { id: 0, signo: 10, sigval: 0x7fff86e452a8n, notify: 'signal', toThread: false, target: pid, clockId: 0 },
      { id: 1, signo: 0, sigval: 0n, notify: 'none', toThread: false, target: pid, clockId: 1 },
      { id: 2, signo: 40, sigval: 2n ** 64n - 1n, notify: 'signal', toThread: true, target: pid, clockId: -2 },
      { id: 3, signo: 64, sigval: 5n, notify: 'signal', toThread: false, target: pid, clockId: 7 },
    ]);
    expect(parseTimers(proc('6.18/sleep/timers'))).toEqual([]);
  });
  test('3.10 prints a null pointer as (null)', () => {
    expect(parseTimers(proc('3.10/timers')).map((t) => [t.id, t.sigval, t.notify, t.toThread])).toEqual([
      [1, 0n, 'signal', false],
      [0, 0x7fff86e452a8n, 'thread', true],
    ]);
  });
  test('damage', () => {
    for (const bad of ['x\n', 'ID: 1\n', 'ID: 1\nsignal: 60\nnotify: signal/pid.1\nClockID: 0\n']) {
      expect(() => parseTimers(ascii(bad))).toThrow(StasisError);
    }
    expect(() => parseTimers(ascii('ID: 1\nsignal: 6/00\nnotify: x/pid.1\nClockID: 0\n'))).toThrow(StasisError);
  });
});

test('cgroup', () => {
  expect(parseCgroup(proc('3.10/cgroup'))).toEqual([
    { hierarchy: 9, controllers: ['cpuset'], name: undefined, path: '/', deleted: false },
    { hierarchy: 8, controllers: ['net_cls', 'net_prio'], name: undefined, path: '/a:b (x)', deleted: false },
    { hierarchy: 4, controllers: ['cpu', 'cpuacct'], name: undefined, path: '/user.slice', deleted: false },
    {
      hierarchy: 1,
      controllers: [],
      name: 'systemd',
      path: '/user.slice/user-1000.slice/session-1.scope',
      deleted: false,
    },
  ]);
  expect(parseCgroup(proc('5.10/cgroup'))[1]).toEqual({
    ...{ hierarchy: 0, controllers: [], name: undefined, path: '/system.slice/foo.service', deleted: true },
  });
  expect(() => parseCgroup(ascii('0:x\n'))).toThrow(StasisError);
});

test('namespaces', () => {
  expect(parseNsLink('net:[4026531840]')).toEqual({ type: 'net', ino: 4026531840 });
  expect(parseNsLink('/proc/1/ns/net')).toBeUndefined();
  expect(parseIdMap(ascii('         0          0 4294967295\n'))).toEqual([
    { inside: 0, outside: 0, count: 4294967295 },
  ]);
  expect(parseIdMap(ascii(''))).toEqual([]);
  const offsets = { monotonic: { sec: -12n, nsec: 5 }, boottime: { sec: 864000n, nsec: 0 } };
  expect(parseTimeOffsets(ascii('monotonic         -12         5\nboottime       864000         0\n'))).toEqual(
    offsets,
  );
  expect(parseTimeOffsets(ascii('1 -12 5\n7 864000 0\n'))).toEqual(offsets);
});

describe('single values', () => {
  test('comm keeps its newlines', () => {
    expect(values.parseComm(proc('6.18/odd/comm'))).toBe(ODD_COMM);
    expect(values.parseComm(ascii('a\n\n'))).toBe('a\n');
  });
  test('strings', () => {
    expect(values.parseStrings(proc('6.18/odd/cmdline'))).toEqual(['/tmp/odd/odd']);
    expect(values.parseStrings(ascii('a\0\0b c'))).toEqual(['a', '', 'b c']);
  });
  test('numbers', () => {
    expect(values.parseChildren(proc('6.18/odd/children')).length).toBe(2);
    expect(values.parseChildren(ascii(''))).toEqual([]);
    expect(values.parsePersonality(ascii('00440000\n'))).toBe(0x440000);
    expect(values.parsePersonality(proc('6.18/odd/personality'))).toBe(0);
    expect(values.parseCoredumpFilter(proc('6.18/odd/coredump_filter'))).toBe(0x33);
    expect(values.parseCoredumpFilter(ascii(''))).toBeUndefined();
    expect(values.parseNumber(ascii('4294967295'), 'loginuid')).toBe(4294967295);
    expect(values.parseNumber(ascii('-1000\n'), 'oom_score_adj')).toBe(-1000);
    expect(() => values.parseNumber(ascii('\n'), 'loginuid')).toThrow(StasisError);
    expect(values.parseUptime(ascii('987.71 1858.10\n'))).toBe(987.71);
    expect(values.parseIo(proc('6.18/odd/io')).has('cancelled_write_bytes')).toBe(true);
  });
  test('syscall', () => {
    expect(values.parseSyscall(proc('6.18/odd/syscall'))).toMatchObject({ kind: 'inside', nr: 34 });
    const sleep = values.parseSyscall(proc('6.18/sleep/syscall'));
    expect(sleep.kind === 'inside' && sleep.nr === 230 && sleep.args.length === 6).toBe(true);
    expect(values.parseSyscall(ascii('running\n'))).toEqual({ kind: 'running' });
    expect(values.parseSyscall(ascii('-1 0x7ffe 0x40\n'))).toEqual({ kind: 'outside', sp: 0x7ffen, pc: 0x40n });
    expect(() => values.parseSyscall(ascii(''))).toThrow(StasisError);
  });
});
