import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostPid } from '../../../../src/base/brands.ts';
import { StasisError } from '../../../../src/base/errors.ts';
import { parseFdInfo } from '../../../../src/kernel/proc/fdinfo.ts';
import { readProc, readProcIfAny, readProcLink, readSystem } from '../../../../src/kernel/proc/read.ts';
import { parseSmaps } from '../../../../src/kernel/proc/smaps.ts';
import { parseStat } from '../../../../src/kernel/proc/stat.ts';
import { parseStatus } from '../../../../src/kernel/proc/status.ts';
import { parseUptime } from '../../../../src/kernel/proc/values.ts';

function kindOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof StasisError ? error.kind : 'another error';
  }
  return 'none';
}

/** Above the largest pid there can be (2^22). */
const NOBODY = 5_000_000;

describe('reading /proc', () => {
  test('this process', () => {
    expect(parseStat(readProc('self', 'stat')).pid).toBe(process.pid);
    expect(parseStatus(readProc(hostPid(process.pid), 'status')).ppid).toBe(process.ppid);
    expect(parseFdInfo(readProc('self', 'fdinfo/1')).flags).toBeGreaterThanOrEqual(0);
    expect(parseUptime(readSystem('/proc/uptime'))).toBeGreaterThan(0);
  });

  test('files larger than the buffer arrive whole, and smaller ones after them', () => {
    const vmas = parseSmaps(readProc('self', 'smaps'));
    expect(vmas.length).toBeGreaterThan(20);
    expect(readSystem('/proc/kallsyms').length).toBeGreaterThan(256 * 1024); // megabytes, as a rule
    expect(parseStat(readProc('self', 'stat')).pid).toBe(process.pid);
  });

  test('what is missing', () => {
    expect(kindOf(() => readProc(hostPid(NOBODY), 'stat'))).toBe('gone');
    expect(kindOf(() => readProcIfAny(hostPid(NOBODY), 'stat'))).toBe('gone');
    expect(kindOf(() => readProc('self', 'no-such-file'))).toBe('unsupported');
    expect(readProcIfAny(hostPid(process.pid), 'no-such-file')).toBeUndefined();
    expect(kindOf(() => readProcLink(hostPid(process.pid), 'fd/99999'))).toBe('unsupported');
    expect(kindOf(() => readProcLink(hostPid(NOBODY), 'exe'))).toBe('gone');
    expect(readProcLink('self', 'cwd')).toBe(process.cwd());
  });

  test('a zombie is there, its memory is not', async () => {
    // The child of the shell ends; `exec` leaves a parent that never waits for it.
    const parent = spawn('sh', ['-c', '(sleep 0.1; exit 3) & echo $!; exec sleep 20'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [text] = (await once(parent.stdout, 'data')) as [Buffer];
      const zombie = Number(text.toString());
      for (let i = 0; i < 200 && parseStat(readProc(hostPid(zombie), 'stat')).state !== 'Z'; i++) await Bun.sleep(5);
      expect(parseStat(readProc(hostPid(zombie), 'stat'))).toMatchObject({ state: 'Z', exitCode: 3 << 8 });
      expect(readProcIfAny(hostPid(zombie), 'auxv')).toBeUndefined();
      expect(parseSmaps(readProc(hostPid(zombie), 'smaps'))).toEqual([]);
    } finally {
      parent.kill('SIGKILL');
      await once(parent, 'exit');
    }
  }, 10_000);
});
