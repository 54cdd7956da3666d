/** The first promise: a dump never harms. It completes, or the task runs on exactly as before. */
import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { duration, free, goesOn, HARM, moments, occasions, stasisKilled, unharmed, withFailure } from './kit/harm.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { goOn, Victim } from './kit/victim.ts';

const LONG = 60_000 + HARM * 2000;

describe('SIGKILL to Stasis', () => {
  test(
    'at any moment of a dump that leaves the task running',
    async () => {
      using victim = await Victim.start('sturdy', ['16']);
      const before = await victim.settled();
      const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
      for (const moment of moments(HARM, span * 1.25)) {
        await stasisKilled(victim.dumpLine(['--leave-running']), moment);
        await stillItself(victim, before, `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`);
      }
      // What is left of those that died inside must not be in the way of the next.
      await stasisOk(victim.dumpLine(['--leave-running']));
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
        const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
        let ended = 0;
        for (const moment of moments(HARM, span * 1.25)) {
          const { signal } = await stasisKilled(victim.dumpLine(), moment);
          if (signal) await goOn(20); // the kernel may be about to kill it
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

test(
  'any system call of Stasis may fail: the task lives on',
  async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    const line = ['--leave-running'];
    const all = await occasions(victim.dumpLine(line), Math.max(2, Math.round(HARM / 15)), victim);
    let failed = 0;
    for (const occasion of all) {
      const outcome = await withFailure(victim, victim.dumpLine(line), occasion, 'EIO');
      if (outcome.status !== 0) failed++;
      const { call, when, of } = occasion;
      await stillItself(victim, before, `${call} number ${when} of ${of} fails; ${outcome.stderr.slice(-300)}`);
    }
    console.log(`dumps with a failing call: ${all.length}, of which ended with an error: ${failed}`);
    await victim.verdict();
  },
  LONG * 2,
);

test('a full disk is told, and the task lives on', async () => {
  using victim = await Victim.start('sturdy', ['8']);
  const before = await victim.settled();
  using small = new SmallDisk(victim.dir);
  const line = ['dump', '-t', String(victim.pid), '-D', small.dir, '-W', victim.dir, '-o', 'full.log'];
  const outcome = await stasis(line);
  expect(outcome.status).not.toBe(0);
  expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
  expect(outcome.stderr).not.toContain('    at ');
  expect(existsSync(join(small.dir, 'inventory.img'))).toBe(false);
  await stillItself(victim, before, 'disk full');
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
    'import socket,time\ns=socket.create_server(("127.0.0.1",0))\nt=socket.create_connection(s.getsockname())\n' +
      'a,_=s.accept()\nprint("READY",flush=True)\nwhile True: time.sleep(.01)',
  ]);
  const before = await victim.settled();
  const outcome = await stasis([...victim.dumpLine(), '--json']);
  expect(outcome.status).toBe(1);
  expect(victim.alive()).toBe(true);
  const { obstacles } = JSON.parse(outcome.stderr);
  expect(obstacles).toHaveLength(2);
  await unharmed(before, victim);
}, 20_000);
