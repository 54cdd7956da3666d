import { expect, test } from 'bun:test';
import { StasisError } from '../../../../src/base/errors.ts';
import { parseAuxv } from '../../../../src/kernel/proc/auxv.ts';
import { parseCgroup } from '../../../../src/kernel/proc/cgroup.ts';
import { parseFdInfo } from '../../../../src/kernel/proc/fdinfo.ts';
import { parseLimits } from '../../../../src/kernel/proc/limits.ts';
import { parseLocks } from '../../../../src/kernel/proc/locks.ts';
import { parseMountInfo } from '../../../../src/kernel/proc/mountinfo.ts';
import { parseIdMap } from '../../../../src/kernel/proc/namespaces.ts';
import { parseSmaps } from '../../../../src/kernel/proc/smaps.ts';
import { parseStat } from '../../../../src/kernel/proc/stat.ts';
import { parseStatus } from '../../../../src/kernel/proc/status.ts';
import { parseTimers } from '../../../../src/kernel/proc/timers.ts';
import { parseSyscall } from '../../../../src/kernel/proc/values.ts';
import { dice } from '../../dice.ts';
import { proc } from './fixtures.ts';

/** Asks for all that is parsed on demand. */
function everythingOf<T extends object>(value: T): unknown[] {
  return Object.getOwnPropertyNames(Object.getPrototypeOf(value)).map((name) => value[name as keyof T]);
}

const cases: [file: string, parse: (bytes: Uint8Array) => unknown][] = [
  ['6.18/odd/stat', (bytes) => everythingOf(parseStat(bytes))],
  ['6.18/odd/status', (bytes) => everythingOf(parseStatus(bytes))],
  ['6.18/odd/smaps', parseSmaps],
  ['5.10/smaps', parseSmaps],
  ['6.18/odd/limits', parseLimits],
  ['6.18/odd/auxv', parseAuxv],
  ['6.18/odd/timers', parseTimers],
  ['6.18/odd/syscall', parseSyscall],
  ['6.18/mountinfo', parseMountInfo],
  ['6.18/locks', parseLocks],
  ['3.10/cgroup', parseCgroup],
  ['6.18/odd/fdinfo/epoll', parseFdInfo],
  ['6.18/odd/fdinfo/inotify', parseFdInfo],
  ['6.18/odd/fdinfo/fanotify', parseFdInfo],
  ['6.18/odd/fdinfo/locked', parseFdInfo],
  ['6.18/odd/fdinfo/timerfd', parseFdInfo],
  ['6.18/odd/fdinfo/pidfd', parseFdInfo],
  ['6.18/odd/status', parseIdMap],
];

/** Bytes that mean something to one of the formats. */
const MEANINGFUL = Buffer.from('\n \t:()-,/\\0129afxZ\0\xff', 'latin1');

test('damaged files give an answer or a typed error, never another', () => {
  for (const [file, parse] of cases) {
    const roll = dice(file.length + 1);
    const whole = proc(file);
    for (let round = 0; round < 60; round++) {
      const bytes = Uint8Array.from(whole);
      for (let change = 0; change <= roll(4); change++) {
        bytes[roll(bytes.length)] = MEANINGFUL[roll(MEANINGFUL.length)] as number;
      }
      const cut = bytes.subarray(0, roll(3) === 0 ? roll(bytes.length) : bytes.length);
      try {
        parse(cut);
      } catch (error) {
        if (!(error instanceof StasisError)) throw new Error(`${file}, round ${round}: ${String(error)}`);
        expect(error.kind).toBe('kernel');
      }
    }
  }
});
