import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { encodeText } from '../../../../src/base/text.ts';
import { type ProcVma, parseSmaps } from '../../../../src/kernel/proc/smaps.ts';
import { vmaName } from '../../../../src/kernel/proc/vmaname.ts';
import { ascii, proc } from './fixtures.ts';

const odd = parseSmaps(proc('6.18/odd/smaps'));
const at = (vmas: ProcVma[], start: number): ProcVma => {
  const found = vmas.find((v) => v.start === start);
  if (!found) throw new Error(`no VMA at ${start.toString(16)}`);
  return found;
};
const flagged = (flag: string) =>
  odd.filter((v) => v.start < 0x200000000000 && v.vmFlags?.has(flag)).map((v) => v.start);
const SLOT = (n: number) => 0x100000000000 + n * 0x4000;

describe('smaps of a running kernel', () => {
  test('has the VMAs of maps', () => {
    const maps = parseSmaps(proc('6.18/odd/maps'));
    const header = ({ start, end, prot, shared, offset, devMajor, devMinor, ino, name }: ProcVma) => ({
      ...{ start, end, prot, shared, offset, devMajor, devMinor, ino, name },
    });
    expect(odd.length).toBeGreaterThan(40);
    expect(odd.map(header)).toEqual(maps.map(header));
    expect(maps.every((v) => v.vmFlags === undefined && v.kernelPageSize === undefined && v.rss === undefined)).toBe(
      true,
    );
  });

  test('every record has its own details', () => {
    // The same numbers, found by splitting lines.
    const records = Buffer.from(proc('6.18/odd/smaps'))
      .toString('latin1')
      .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    expect(records.length).toBe(odd.length);
    odd.forEach((vma, i) => {
      const value = (key: string) => Number(new RegExp(`^${key}: +(\\d+)`, 'm').exec(records[i] as string)?.[1]) * 1024;
      const flags = /^VmFlags: (.*?) *$/m.exec(records[i] as string)?.[1];
      expect([vma.kernelPageSize, vma.rss, vma.anonymous, vma.swap]).toEqual(
        ['KernelPageSize', 'Rss', 'Anonymous', 'Swap'].map(value),
      );
      expect([...(vma.vmFlags ?? [])].join(' ')).toBe(flags as string);
    });
  });

  test('protection, sharing, flags of madvise and mmap', () => {
    expect(at(odd, SLOT(0))).toMatchObject({
      end: SLOT(0) + 8192,
      prot: 3,
      shared: false,
      offset: 0,
      ino: 0n,
      name: '',
    });
    expect(at(odd, SLOT(1)).prot).toBe(0);
    expect(flagged('dd')).toContain(SLOT(2));
    expect(flagged('dc')).toContain(SLOT(3));
    expect(flagged('wf')).toContain(SLOT(4));
    expect(flagged('hg')).toEqual([SLOT(5)]);
    expect(flagged('nh')).toContain(SLOT(6));
    expect(flagged('lo')).toEqual([SLOT(8)]);
    expect(flagged('gd')).toEqual([SLOT(9)]);
    expect(flagged('dp')).toEqual([SLOT(11)]);
    expect(at(odd, SLOT(12))).toMatchObject({ shared: true, prot: 3, rss: 4096 });
  });

  test('special names', () => {
    const kinds = new Set(odd.map((v) => vmaName(v.name).kind));
    for (const kind of [
      'none',
      'heap',
      'stack',
      'vdso',
      'vvar',
      'vvar_vclock',
      'vsyscall',
      'aio',
      'anonShmem',
      'memfd',
      'sysv',
      'file',
    ]) {
      expect(kinds).toContain(kind as never);
    }
    const vsyscall = odd.at(-1) as ProcVma;
    expect(BigInt(vsyscall.start)).toBe(0xffffffffff600000n);
    expect(BigInt(vsyscall.end)).toBe(0xffffffffff601000n);
  });

  test('hostile file names', () => {
    const named = (n: number) => vmaName(at(odd, SLOT(n)).name);
    const file = (path: string, deleted: boolean) => ({
      kind: 'file' as const,
      path: `/tmp/odd/files/${path}`,
      deleted,
    });
    expect(named(14)).toEqual({ kind: 'memfd', label: 'my memfd\\012x (deleted)' });
    expect(named(15)).toEqual({ kind: 'sysv', key: 0xbeef });
    expect(named(16)).toEqual(file('new\\012line', false));
    expect(at(odd, SLOT(16)).offset).toBe(4096);
    expect(named(17)).toEqual(file('back\\012slash', false)); // a real backslash: the same to a reader
    expect(named(18)).toEqual(file('alive', true)); // alive, and called `alive (deleted)`
    expect(named(19)).toEqual(file('gone', true));
    expect(named(20)).toEqual(file('gone (deleted)', true));
    expect(named(21)).toEqual(file('\udcff\udcfelatin\udce9', false));
    expect(encodeText(at(odd, SLOT(21)).name).subarray(-8)).toEqual(
      Uint8Array.of(0xff, 0xfe, 108, 97, 116, 105, 110, 0xe9),
    );
    expect(named(22)).toEqual(file('sp ace\ttab ', false));
    expect(named(23)).toEqual(file('€ euro', false));
    expect(named(24)).toEqual(file('[heap]', false));
  });
});

describe('smaps of other kernels', () => {
  const names = ['3.2', '3.10', '4.4', '4.19', '5.10'];
  for (const kernel of names) {
    test(kernel, () => {
      const vmas = parseSmaps(proc(`${kernel}/smaps`));
      const text = at(vmas, 0x400000);
      expect(text).toMatchObject({
        end: 0x4f4000,
        prot: 5,
        devMajor: 8,
        devMinor: 3,
        ino: 1835n,
        kernelPageSize: 4096,
        rss: 880 * 1024,
      });
      expect(text.vmFlags?.has('dw')).toBe(kernel === '3.2' ? undefined : true);
      expect(at(vmas, 0x1c6a000)).toMatchObject({ anonymous: 784 * 1024, swap: 12 * 1024, name: '[heap]' });
      const huge = at(vmas, 0x7f2c3c000000);
      expect(huge).toMatchObject({
        kernelPageSize: 2 << 20,
        shared: true,
        ino: 2n ** 64n - 1n,
        devMajor: 0,
        devMinor: 12,
      });
      expect(vmaName(huge.name)).toEqual({ kind: 'anonHuge' });
    });
  }

  test('numbers wider than their column move the lines after them', () => {
    for (const kernel of names) {
      const big = at(parseSmaps(proc(`${kernel}/smaps`)), 0x7f1000000000);
      expect(big).toMatchObject({ rss: 120000000 * 1024, anonymous: 120000000 * 1024, swap: 7 * 1024, name: '' });
      if (kernel !== '3.2') expect(big.vmFlags?.has('nr')).toBe(true);
    }
  });

  test('stacks of threads (before 4.5), protection keys, no details', () => {
    expect(vmaName(at(parseSmaps(proc('4.4/smaps')), 0x7f2c40000000).name)).toEqual({ kind: 'stack' });
    expect(parseSmaps(proc('5.10/smaps')).map((v) => v.protectionKey)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const maps = parseSmaps(proc('3.2/maps'));
    expect(maps.map((v) => v.name)).toEqual(parseSmaps(proc('3.2/smaps')).map((v) => v.name));
    expect(maps[0]?.rss).toBeUndefined();
  });

  test('named anonymous memory and pseudo files', () => {
    const vmas = parseSmaps(proc('6.6/smaps'));
    expect(vmas.slice(3, 9).map((v) => vmaName(v.name))).toEqual([
      { kind: 'anon', label: 'stack_and_tls:17 (deleted)' },
      { kind: 'anonShmem', label: 'frames' },
      { kind: 'anonShmem', label: undefined },
      { kind: 'anonInode', label: '[perf_event]' },
      { kind: 'pseudo', text: 'socket:[98765]' },
      { kind: 'uprobes' },
    ]);
    expect(vmaName(vmas[9]?.name ?? '')).toEqual({ kind: 'sysv', key: 1234 });
    expect(vmaName('[something new]')).toEqual({ kind: 'special', text: '[something new]' });
  });

  test('a record with other lines than the one before is read afresh', () => {
    const vmas = parseSmaps(
      ascii(
        '1000-2000 rw-p 00000000 00:00 0 \nSize: 4 kB\nRss: 4 kB\nVmFlags: rd wr \n' +
          '2000-3000 rw-p 00000000 00:00 0 \nRss: 8 kB\nNew: 1 kB\nSwap: 12 kB\nVmFlags: rd \n' +
          '3000-4000 rw-p 00000000 00:00 0 \nRss: 8 kB\nVmFlags: rd \nAfter: 1 kB\n' +
          '4000-5000 rw-p 00000000 00:00 0 \nVmFlags:\n',
      ),
    );
    expect(vmas.map((v) => [v.start, v.rss, v.swap, [...(v.vmFlags ?? [])].join()])).toEqual([
      [0x1000, 4096, undefined, 'rd,wr'],
      [0x2000, 8192, 12288, 'rd'],
      [0x3000, 8192, undefined, 'rd'],
      [0x4000, undefined, undefined, ''],
    ]);
  });
});

describe('smaps that are damaged', () => {
  test('torn files are refused, or end at a whole line', () => {
    const whole = proc('4.4/smaps');
    for (let length = 0; length < whole.length; length += 13) {
      try {
        parseSmaps(whole.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(StasisError);
      }
    }
    expect(() => parseSmaps(ascii('1000-2000 rw-p 00000000 00:00 0'))).toThrow(StasisError);
    expect(() => parseSmaps(ascii('hello\n'))).toThrow(StasisError);
    expect(parseSmaps(ascii(''))).toEqual([]);
  });
});

test('10,000 VMAs take milliseconds', () => {
  const one = proc('6.18/odd/smaps');
  const copies = Math.ceil(10_000 / odd.length);
  const many = Buffer.concat(Array.from({ length: copies }, () => one));
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    const started = process.cpuUsage(); // our own time: the machine may be busy with something else
    expect(parseSmaps(many).length).toBe(copies * odd.length);
    best = Math.min(best, process.cpuUsage(started).user / 1000);
  }
  expect(best).toBeLessThan(60); // 4 ms on an idle machine
});
