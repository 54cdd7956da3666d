/** What /proc tells of many descriptors: the same as it tells of each. */
import { expect, test } from 'bun:test';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostPid, type LocalFd, taskFd } from '../../../../src/base/brands.ts';
import { O } from '../../../../src/kernel/constants/files.ts';
import { AF, SOCK } from '../../../../src/kernel/constants/sockets.ts';
import { closeAll } from '../../../../src/kernel/descriptor-table.ts';
import { openFile } from '../../../../src/kernel/files.ts';
import { DescriptorInfos, OwnLinks } from '../../../../src/kernel/proc/descriptors.ts';
import { parseFdHead } from '../../../../src/kernel/proc/fdinfo.ts';
import { statusOf } from '../../../../src/kernel/statx.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from '../../../../src/kernel/syscall.ts';

/** Two pipes, three sockets and two files. */
function someFiles(): LocalFd[] {
  const pipes = [0, 1].flatMap(() => {
    syscall('pipe2', arenaAddress, O.CLOEXEC);
    return [arenaView.getInt32(0, true), arenaView.getInt32(4, true)];
  });
  const sockets = [0, 1, 2].map(() => syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
  const files = ['/dev/null', '/proc/self/status'].map((path) => openFile(path, O.RDONLY).release());
  return [...pipes, ...sockets, ...files] as LocalFd[];
}

test('fdinfo and links are those that /proc shows', () => {
  const files = someFiles();
  {
    using infos = new DescriptorInfos(hostPid(process.pid));
    using links = new OwnLinks();
    for (const local of files) {
      const shown = readFileSync(`/proc/self/fdinfo/${local}`, 'utf8');
      expect(new TextDecoder().decode(infos.of(taskFd(local)))).toBe(shown);
      expect(links.of(local, statusOf(local))).toBe(readlinkSync(`/proc/self/fd/${local}`));
    }
    expect(infos.of(taskFd(1_000_000))).toBeUndefined();
  }
  closeAll([...files].reverse());
  for (const local of files) expect(trySyscall('fcntl', local, 1, 0)).toBeLessThan(0);
});

test('only what is to be closed is closed', () => {
  const files = someFiles();
  const [spared] = files.splice(3, 1) as [LocalFd];
  closeAll(files);
  expect(trySyscall('fcntl', spared, 1, 0)).toBeGreaterThanOrEqual(0);
  closeAll([spared]);
});

test('the head of fdinfo', () => {
  const head = (text: string): ReturnType<typeof parseFdHead> => parseFdHead(new TextEncoder().encode(text));
  expect(head('pos:\t0\nflags:\t0100002\nmnt_id:\t12\n')).toEqual({ pos: 0, flags: 0o100002 });
  expect(head('pos:\t-12\nflags:\t02\n')).toEqual({ pos: -12, flags: 2 });
  for (const wrong of [
    '',
    'pos:\t0\n',
    'pos:\t\nflags:\t02\n',
    'pos:\t1x\nflags:\t02\n',
    'pos:\t1\nflags:\t09\n',
    'flags:\t02\npos:\t1\n',
  ]) {
    expect(() => head(wrong)).toThrow('no pos or flags');
  }
});
