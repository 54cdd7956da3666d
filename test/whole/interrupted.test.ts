/**
 * A signal that asks Stasis to end in the middle of a dump or a restore: one moment decides what becomes of the tree.
 */
import { describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { duration, free, goesOn, moments, nothingLeft, strays, traces, unharmed } from './kit/harm.ts';
import { type Outcome, stasis, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** STASIS_HARM=400 for the proof. */
const ROUNDS = Math.max(40, Number(process.env.STASIS_HARM ?? 0));
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type Ending = keyof typeof SIGNALS;
const NAMES = Object.keys(SIGNALS) as Ending[];
const LIMIT = 60_000 + ROUNDS * 3000;

function signalled(args: readonly string[], signal: Ending, ms: number, cwd: string): Promise<Outcome> {
  return stasis(args, {
    cwd,
    started: (pid) => {
      setTimeout(() => trySyscall('kill', pid, SIGNALS[signal]), ms);
    },
  });
}

const images = (victim: Victim): string[] =>
  readdirSync(victim.images).filter((name) => name.endsWith('.img') || name.startsWith('stasis-'));

test(
  'a dump: the tree goes on and no image is left, or it is saved and Stasis answers 0',
  async () => {
    let victim = await Victim.start('sturdy', ['16']);
    try {
      let before = await victim.settled();
      const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
      let finished = 0;
      let told = 0;
      for (const [i, moment] of moments(ROUNDS, span * 1.1).entries()) {
        const signal = NAMES[i % NAMES.length] ?? 'SIGTERM';
        const outcome = await signalled(victim.dumpLine(), signal, moment, victim.dir);
        const note = `${signal} after ${moment.toFixed(1)} of ${span.toFixed(1)} ms: ${outcome.stderr}`;
        if (outcome.status === 0) {
          finished++;
          expect(outcome.stderr, note).toBe('');
          await victim.waitGone();
          await victim.restore();
          await goesOn(victim);
          victim[Symbol.dispose]();
          victim = await Victim.start('sturdy', ['16']);
          before = await victim.settled();
          continue;
        }
        expect(outcome.signal, note).toBe(signal);
        expect(images(victim), note).toEqual([]);
        // Before it has begun, nothing is said.
        if (outcome.stderr !== '') {
          told++;
          expect(outcome.stderr).toBe(
            `Interrupted by ${signal}: task ${victim.pid} and its tree go on, and no images are left\n`,
          );
        }
        await free(victim.pid);
        await goesOn(victim);
        await unharmed(before, victim);
      }
      console.log(`dumps: ${finished} finished, ${told} interrupted, of ${ROUNDS}`);
      await victim.cycle();
      await victim.verdict();
    } finally {
      victim[Symbol.dispose]();
    }
  },
  LIMIT,
);

test(
  'a restore: nothing is restored, or all of it',
  async () => {
    using victim = await Victim.start('sturdy', ['16']);
    await victim.settled();
    await victim.dump();
    const before = traces(victim);
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      times.push((await victim.restore()).ms);
      victim.kill();
      await victim.waitGone();
    }
    const span = times.sort((a, b) => a - b)[1] ?? 0;
    let finished = 0;
    let told = 0;
    for (const [i, moment] of moments(ROUNDS, span * 1.1).entries()) {
      const signal = NAMES[i % NAMES.length] ?? 'SIGTERM';
      const outcome = await signalled(victim.restoreLine(), signal, moment, victim.dir);
      const note = `${signal} after ${moment.toFixed(1)} of ${span.toFixed(1)} ms: ${outcome.stderr}`;
      if (outcome.status === 0) {
        finished++;
        await free(victim.pid);
        await goesOn(victim);
        victim.kill();
        await victim.waitGone();
      } else {
        expect(outcome.signal, note).toBe(signal);
        if (outcome.stderr !== '') {
          told++;
          expect(outcome.stderr).toBe(`Interrupted by ${signal}: nothing was restored\n`);
        }
        await nothingLeft(victim);
        expect(strays(victim), note).toEqual([]);
      }
      expect(traces(victim), note).toEqual(before);
    }
    console.log(`restores: ${finished} finished, ${told} interrupted, of ${ROUNDS}`);
    await victim.restore();
    await victim.verdict();
  },
  LIMIT,
);

describe('around the moment that decides', () => {
  /** A script that says when it runs, and waits until it may end. */
  function waitingScript(victim: Victim): string {
    const script = join(victim.dir, 'script');
    writeFileSync(
      script,
      `#!/bin/sh\n[ "$CRTOOLS_SCRIPT_ACTION" = "$AT" ] || exit 0\n: > ${victim.dir}/here\nwhile [ ! -e ${victim.dir}/go ]; do sleep 0.02; done\n`,
    );
    chmodSync(script, 0o755);
    return script;
  }

  function atScript(victim: Victim, args: readonly string[], point: string, signal: Ending): Promise<Outcome> {
    const here = (): true | undefined => (existsSync(join(victim.dir, 'here')) ? true : undefined);
    return stasis([...args, '--action-script', waitingScript(victim)], {
      cwd: victim.dir,
      env: { AT: point },
      started: (pid) => {
        until(here, 10_000, () => 'the script does not run').then(
          async () => {
            trySyscall('kill', pid, SIGNALS[signal]);
            await Bun.sleep(50);
            writeFileSync(join(victim.dir, 'go'), '');
          },
          () => {},
        );
      },
    });
  }

  test('before: pre-dump', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const before = await victim.settled();
    const outcome = await atScript(victim, victim.dumpLine(), 'pre-dump', 'SIGTERM');
    expect(outcome.signal).toBe('SIGTERM');
    expect(outcome.stderr).toContain('Interrupted by SIGTERM');
    expect(images(victim)).toEqual([]);
    await goesOn(victim);
    await unharmed(before, victim);
  }, 90_000);

  test('after: post-dump', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const outcome = await atScript(victim, victim.dumpLine(), 'post-dump', 'SIGTERM');
    expect(outcome).toMatchObject({ status: 0, signal: null, stderr: '' });
    await victim.waitGone();
    await victim.restore();
    await victim.verdict();
  }, 90_000);

  test('--json', async () => {
    using victim = await Victim.start('sturdy', ['4']);
    const outcome = await atScript(victim, [...victim.dumpLine(), '--json'], 'pre-dump', 'SIGINT');
    const told = JSON.parse(outcome.stderr) as Record<string, unknown>;
    expect(told).toMatchObject({ kind: 'interrupted', signal: 2 });
    expect(readFileSync(join(victim.images, 'dump.log'), 'utf8')).toContain('interrupted by SIGINT');
    await goesOn(victim);
  }, 90_000);
});
