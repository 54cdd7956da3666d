import { describe, expect, test } from 'bun:test';
import type { VmaEntry } from '../../../../src/images/schema/memory.ts';
import { O } from '../../../../src/kernel/constants/files.ts';
import { parseSysvSem, parseSysvShm } from '../../../../src/kernel/proc/sysvipc.ts';
import { attachmentsOf } from '../../../../src/memory/sysv-attach.ts';
import { segmentLength } from '../../../../src/namespaces/ipc/segments.ts';
import { ascii } from '../../kernel/proc/fixtures.ts';

describe('/proc/sysvipc', () => {
  test('segments: the key is unsigned, the mode octal', () => {
    const text = [
      '       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap',
      '-1357893787          2   640                  5000 32132     0      0    42    43     1     2          0          0 1795444489                     0                     0',
      '         0          5  3666                 12288 20834 20834      1     0     0     0     0 1795444625          0 1795444625                  4096                     0',
      '',
    ].join('\n');
    expect(parseSysvShm(ascii(text))).toEqual([
      {
        key: -1357893787 >>> 0,
        id: 2,
        mode: 0o640,
        uid: 42,
        gid: 43,
        cuid: 1,
        cgid: 2,
        size: 5000,
        attached: 0,
        changed: 1795444489,
      },
      { key: 0, id: 5, mode: 0o3666, uid: 0, gid: 0, cuid: 0, cgid: 0, size: 12288, attached: 1, changed: 1795444625 },
    ]);
  });

  test('semaphores', () => {
    const text =
      '       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n' +
      ' 129659179          0   644          3     0     0     0     0          0 1795444489\n';
    expect(parseSysvSem(ascii(text))).toMatchObject([{ key: 129659179, id: 0, mode: 0o644, count: 3 }]);
    expect(() => parseSysvSem(ascii('key\n 1\n'))).toThrow('unexpected format');
  });
});

const PAGE = 4096n;

/** A mapping of pages `from` to `to` of a segment whose first byte is, or was, at `base`. */
function part(shmid: bigint, base: bigint, from: bigint, to: bigint, fdflags: number = O.RDWR): VmaEntry {
  const start = base + from * PAGE;
  const end = base + to * PAGE;
  return { start, end, pgoff: from * PAGE, shmid, prot: 3, flags: 0x21, status: 1281, fd: -1n, fdflags } as VmaEntry;
}

describe('attachments', () => {
  const length = (): number => 8 * 4096;

  test('pieces with different protections are one attachment', () => {
    const vmas = [part(3n, 0x10000n, 0n, 2n), part(3n, 0x10000n, 2n, 8n)];
    expect(attachmentsOf(vmas, length)).toMatchObject([{ id: 3, base: 0x10000, writable: true, whole: true }]);
  });

  test('two of one segment, one for reading only', () => {
    const vmas = [part(3n, 0x10000n, 0n, 8n), part(3n, 0x18000n, 0n, 8n, O.RDONLY)];
    expect(attachmentsOf(vmas, length).map(({ base, writable }) => [base, writable])).toEqual([
      [0x10000, true],
      [0x18000, false],
    ]);
  });

  test('what has holes, or has moved, is not whole', () => {
    const vmas = [part(3n, 0x10000n, 0n, 2n), part(3n, 0x10000n, 4n, 8n), part(3n, 0x20000n, 3n, 4n)];
    expect(attachmentsOf(vmas, length).map(({ whole, pieces }) => [whole, pieces.length])).toEqual([
      [false, 2],
      [false, 1],
    ]);
  });

  test('lengths are whole pages, of the size they have', () => {
    expect(segmentLength({ size: 5000n, hugetlb_flag: undefined })).toBe(8192);
    expect(segmentLength({ size: 5000n, hugetlb_flag: (0o4000 | (21 << 26)) >>> 0 })).toBe(2 << 20);
  });
});
