/** The first promise: a dump never harms. It completes, or the task runs on exactly as before. */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { callCounts, duration, free, goesOn, HARM, moments, stasisKilled, unharmed, withFailure } from './kit/harm.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const LONG = 60_000 + HARM * 2000;

describe('SIGKILL to Stasis', () => {
  test(
    'at any moment of a dump that leaves the task running',
    async () => {
      using victim = await Victim.start('sturdy', ['16']);
      const before = await victim.settled();
      const span = await duration(() => stasis(victim.dumpLine(['--leave-running'])));
      for (const moment of moments(HARM, span * 1.05)) {
        await stasisKilled(victim.dumpLine(['--leave-running']), moment);
        await stillItself(victim, before, `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`);
      }
      await victim.verdict();
    },
    LONG,
  );

  test(
    'at any moment of a dump that ends the task',
    async () => {
      let victim = await Victim.start('sturdy', ['16']);
      try {
        let before = await victim.settled();
        const span = await duration(() => stasis(victim.dumpLine(['--leave-running'])));
        let ended = 0;
        for (const moment of moments(HARM, span * 1.05)) {
          await stasisKilled(victim.dumpLine(), moment);
          const note = `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`;
          if (victim.alive()) {
            await stillItself(victim, before, note);
            continue;
          }
          // It has been ended: then its images are whole, and it lives again.
          ended++;
          await victim.waitGone();
          expect(existsSync(join(victim.images, 'inventory.img')), note).toBe(true);
          await victim.restore();
          await victim.verdict();
          victim[Symbol.dispose]();
          victim = await Victim.start('sturdy', ['16']);
          before = await victim.settled();
        }
        await victim.verdict();
        console.log(`ended and restored: ${ended} of ${HARM}`);
      } finally {
        victim[Symbol.dispose]();
      }
    },
    LONG,
  );

  test(
    'while the task sleeps in a call with a time limit',
    async () => {
      for (const call of ['nanosleep', 'poll', 'futex', 'sigsuspend']) {
        using victim = await Victim.start('asleep', [call]);
        const before = await victim.settled();
        const began = performance.now();
        await stasisKilled(victim.dumpLine(['--leave-running']), 15 + Math.random() * 40);
        await free(victim.pid);
        // What the promise allows: the call may end early with EINTR, and nothing else may happen.
        if (victim.alive() && performance.now() - began < 1000) {
          if (!victim.output().includes('FAIL')) await unharmed(before, victim);
        }
      }
    },
    LONG,
  );
});

async function stillItself(victim: Victim, before: ReturnType<Victim['state']>, note: string): Promise<void> {
  try {
    await free(victim.pid);
    await goesOn(victim);
    await unharmed(before, victim);
  } catch (error) {
    throw new Error(`${note}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Calls that are Stasis' own work on the task and on the images; each is made to fail at some of its occasions. */
const CALLS = [
  ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'pread64', 'pwrite64', 'preadv', 'pwritev', 'read', 'write'],
  ...['writev', 'openat', 'pidfd_open', 'pidfd_getfd', 'wait4', 'waitid', 'kcmp', 'fcntl', 'readlink', 'readlinkat'],
  ...[
    'statx',
    'fstat',
    'newfstatat',
    'getdents64',
    'ioctl',
    'lseek',
    'rename',
    'mkdir',
    'fsync',
    'ftruncate',
    'copy_file_range',
  ],
  ...['kill', 'tgkill', 'pidfd_send_signal', 'rt_sigprocmask', 'mmap', 'munmap', 'vmsplice', 'splice', 'sendfile'],
];

test(
  'any system call of Stasis may fail: the task lives on',
  async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    const counts = await callCounts(victim.dumpLine(['--leave-running']), join(victim.dir, 'counts'));
    const each = Math.max(2, Math.round(HARM / 15));
    let failed = 0;
    let tried = 0;
    for (const call of CALLS) {
      const count = counts.get(call) ?? 0;
      const occasions = new Set(moments(Math.min(each, count), count).map((at) => Math.floor(at) + 1));
      for (const when of occasions) {
        const outcome = await withFailure(victim, victim.dumpLine(['--leave-running']), call, 'EIO', when);
        tried++;
        if (outcome.status !== 0) failed++;
        await stillItself(victim, before, `${call} number ${when} of ${count} fails; ${outcome.stderr.slice(-300)}`);
      }
    }
    console.log(`dumps with a failing call: ${tried}, of which ended with an error: ${failed}`);
    await victim.verdict();
  },
  LONG * 2,
);

test('a full disk is told, and the task lives on', async () => {
  using victim = await Victim.start('sturdy', ['8']);
  const before = await victim.settled();
  const small = join(victim.dir, 'small');
  mkdirSync(small);
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'stasis-test', small]).status).toBe(0);
  try {
    const line = ['dump', '-t', String(victim.pid), '-D', small, '-W', victim.dir, '-o', 'full.log'];
    const outcome = await stasis(line);
    expect(outcome.status).not.toBe(0);
    expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
    expect(outcome.stderr).not.toContain('    at ');
    expect(existsSync(join(small, 'inventory.img'))).toBe(false);
    await stillItself(victim, before, 'disk full');
  } finally {
    spawnSync('umount', ['-l', small]);
  }
  await victim.verdict();
}, 20_000);

test('a task that may map no more memory is told so, and lives on', async () => {
  using victim = await Victim.run([
    'bash',
    '-c',
    'ulimit -v 60000; echo READY; while :; do read -t 0.01 <> /dev/zero; done',
  ]);
  const outcome = await stasis(victim.dumpLine());
  if (outcome.status !== 0) {
    expect(outcome.stderr).not.toContain('    at ');
    await free(victim.pid);
    expect(victim.alive()).toBe(true);
  }
}, 20_000);

test('what cannot be saved is told before the task is touched, all at once', async () => {
  using victim = await Victim.run([
    ...['python3', '-c'],
    'import socket,time\ns=socket.socket()\nt=socket.socket()\nprint("READY",flush=True)\nwhile True: time.sleep(.01)',
  ]);
  const before = await victim.settled();
  const outcome = await stasis([...victim.dumpLine(), '--json']);
  expect(outcome.status).toBe(1);
  expect(victim.alive()).toBe(true);
  expect(outcome.stdout + outcome.stderr).toMatch(/socket/);
  await unharmed(before, victim);
}, 20_000);
