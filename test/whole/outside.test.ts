/** Files whose other half is held by somebody outside: the user gives another one at the restore (--inherit-fd). */
import { afterEach, expect, test } from 'bun:test';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { arenaAddress, arenaView, syscall } from '../../src/kernel/syscall.ts';
import { stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';

const O_CLOEXEC = 0o2000000;
const dirs: string[] = [];
const pids: number[] = [];

afterEach(() => {
  for (const pid of pids.splice(0)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended
    }
  }
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function makePipe(): [number, number] {
  syscall('pipe2', arenaAddress, O_CLOEXEC);
  return [arenaView.getInt32(0, true), arenaView.getInt32(4, true)];
}

test('a filter in a pipeline goes on in another pipeline', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-outside-'));
  dirs.push(dir);
  const out = openSync(join(dir, 'out'), 'a');
  const output = (): string => readFileSync(join(dir, 'out'), 'utf8');
  const shows = (text: string): Promise<true> =>
    until(
      () => (output().includes(text) ? true : undefined),
      10_000,
      () => `no ${text} in ${JSON.stringify(output())}`,
    );

  const [read, write] = makePipe();
  const child = spawn('cat', [], { cwd: dir, detached: true, stdio: [read, out, out] });
  child.unref();
  const pid = child.pid ?? 0;
  pids.push(pid);
  closeSync(read);
  writeSync(write, 'before\n');
  await shows('before');
  const key = readlinkSync(`/proc/${pid}/fd/0`);
  await stasisOk(['dump', '-t', String(pid), '-D', dir, '-o', 'dump.log'], join(dir, 'dump.log'));
  expect(readFileSync(join(dir, 'dump.log'), 'utf8')).toContain(`--inherit-fd 'fd[N]:${key}'`);
  await until(
    () => (child.exitCode !== null || child.signalCode !== null ? true : undefined),
    5000,
    () => 'not dead',
  );

  const [read2, write2] = makePipe();
  const restore = (options: readonly string[]) => {
    const [file = '', ...args] = [...stasisCommand(), 'restore', '-d', '-D', dir, '-o', 'restore.log', ...options];
    return spawnSync(file, args, { stdio: ['ignore', 'pipe', 'pipe', read2], encoding: 'utf8', timeout: 30_000 });
  };
  const done = restore(['--inherit-fd', `fd[3]:${key}`]);
  expect(done.stderr).toBe('');
  expect(done.status).toBe(0);
  closeSync(read2);
  writeSync(write2, 'after\n');
  await shows('before\nafter\n');
  // The end of input reaches it, so nobody else holds the other end.
  closeSync(write2);
  closeSync(write);
  await until(
    () => {
      try {
        process.kill(pid, 0);
        return undefined;
      } catch {
        return true;
      }
    },
    5000,
    () => `process ${pid} does not see the end of its input`,
  );
  closeSync(out);
}, 30_000);
