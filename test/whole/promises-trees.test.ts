/** The promises for trees with threads: a dump harms none of them, a restore brings back all of them or none. */
import { describe, expect, test } from 'bun:test';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  allFree,
  allGoOn,
  duration,
  HARM,
  isThere,
  moments,
  nothingLeft,
  occasions,
  stasisKilled,
  traces,
  unharmed,
  untraced,
  withFailure,
} from './kit/harm.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { type Outcome, stasis, stasisOk } from './kit/stasis.ts';
import type { TaskState } from './kit/state.ts';
import { goOn, Victim } from './kit/victim.ts';

/** A tree takes its time. */
const KILLS = Math.ceil(HARM / 4);
const LONG = 90_000 + KILLS * 6000;

/** Fifty processes, ten of them with two threads more. */
function tree(): Promise<Victim> {
  return Victim.start('tree', ['random', '50', '5', '2'], { limitMs: 20_000 });
}

async function noneHarmed(victim: Victim, before: TaskState, note: string): Promise<void> {
  try {
    await allFree([...victim.members(), ...victim.threads()]);
    await allGoOn(victim);
    await unharmed(before, victim);
  } catch (error) {
    throw new Error(`${note}: ${error instanceof Error ? error.message : error}`);
  }
}

/** After a restore that may have failed: all are there and well, and are ended for the next time; or none is there. */
async function allOrNone(victim: Victim, note: string): Promise<boolean> {
  try {
    const there = await isThere(victim);
    if (there) {
      await allFree([...victim.members(), ...victim.threads()]);
      await allGoOn(victim);
      victim.kill();
      await victim.waitGone();
    } else {
      await nothingLeft(victim);
    }
    return there;
  } catch (error) {
    throw new Error(`${note}: ${error instanceof Error ? error.message : error}`);
  }
}

/** What Stasis had in its hands when it was killed is in the middle of its death. */
async function dies(victim: Victim): Promise<boolean> {
  await Bun.sleep(20);
  return !victim.alive();
}

const words = (moment: number, span: number): string => `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`;

describe('SIGKILL to Stasis', () => {
  test(
    'at any moment of a dump that leaves a tree running',
    async () => {
      using victim = await tree();
      const before = await victim.settled();
      const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
      for (const moment of moments(KILLS, span * 1.25)) {
        await stasisKilled(victim.dumpLine(['--leave-running']), moment);
        await noneHarmed(victim, before, words(moment, span));
      }
      // What is left of those that died inside must not be in the way of the next.
      await stasisOk(victim.dumpLine(['--leave-running']));
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG,
  );

  test(
    'at any moment of a dump that ends a tree',
    async () => {
      let victim = await tree();
      try {
        let before = await victim.settled();
        const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
        let ended = 0;
        for (const moment of moments(KILLS, span * 1.25)) {
          await stasisKilled(victim.dumpLine(), moment);
          if (!(await dies(victim))) {
            await noneHarmed(victim, before, words(moment, span));
            continue;
          }
          // All have been ended then, their images are whole, and they live again.
          ended++;
          await victim.waitGone();
          expect(existsSync(join(victim.images, 'inventory.img')), words(moment, span)).toBe(true);
          await victim.restore();
          await allGoOn(victim);
          await victim.verdict({ limitMs: 20_000 });
          victim[Symbol.dispose]();
          victim = await tree();
          before = await victim.settled();
        }
        await victim.verdict({ limitMs: 20_000 });
        console.log(`trees ended and restored: ${ended} of ${KILLS}`);
      } finally {
        victim[Symbol.dispose]();
      }
    },
    LONG,
  );

  // They check themselves all the time.
  const others: readonly [string, string[]][] = [
    ['threads', ['40', 'modest']],
    ['stops', ['abcdefghi', 'patient']],
    ['sharing', []],
    ['zombies', ['leaders']],
  ];
  test.each(others)(
    'at any moment of a dump of "%s %p"',
    async (name, args) => {
      using victim = await Victim.start(name, args);
      const span = await duration(() => stasisOk(victim.dumpLine(['--leave-running'])));
      for (const moment of moments(KILLS, span * 1.25)) {
        await stasisKilled(victim.dumpLine(['--leave-running']), moment);
        await untraced([...victim.members(), ...victim.threads()]);
        await goOn();
        expect(victim.output(), words(moment, span)).not.toContain('FAIL');
      }
      // A stopped process has not left the code of a Stasis that was killed until it is continued.
      if (name !== 'stops') await stasisOk(victim.dumpLine(['--leave-running']));
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG,
  );

  test(
    'at any moment of the restore of a tree',
    async () => {
      using victim = await tree();
      await victim.settled();
      await victim.dump();
      const times: number[] = [];
      for (let i = 0; i < 3; i++) {
        times.push((await victim.restore()).ms);
        await allOrNone(victim, 'not killed');
      }
      const span = times.sort((a, b) => a - b)[1] ?? 0;
      const before = traces(victim);
      let lived = 0;
      for (const moment of moments(KILLS, span * 1.25)) {
        await stasisKilled(victim.restoreLine(), moment, victim.dir);
        if (await allOrNone(victim, words(moment, span))) lived++;
        expect(traces(victim), words(moment, span)).toEqual(before);
      }
      console.log(`trees restored before the kill: ${lived} of ${KILLS}`);
      await victim.restore();
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG,
  );
});

describe('any system call of Stasis may fail', () => {
  const EACH = Math.max(1, Math.round(HARM / 30));

  test(
    'in the dump of a tree',
    async () => {
      using victim = await tree();
      const before = await victim.settled();
      const line = ['--leave-running'];
      let failed = 0;
      const all = await occasions(victim.dumpLine(line), EACH, victim);
      for (const occasion of all) {
        const outcome = await withFailure(victim, victim.dumpLine(line), occasion, 'EIO');
        if (outcome.status !== 0) failed++;
        await noneHarmed(victim, before, told(occasion, outcome));
      }
      console.log(`dumps of a tree with a failing call: ${all.length}, of which ended with an error: ${failed}`);
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG * 2,
  );

  test(
    'in the restore of a tree',
    async () => {
      using victim = await tree();
      await victim.settled();
      await victim.dump();
      const before = traces(victim);
      const all = await occasions(victim.restoreLine(), EACH, victim);
      await allOrNone(victim, 'under strace');
      let failed = 0;
      for (const occasion of all) {
        const outcome = await withFailure(victim, victim.restoreLine(), occasion, 'EIO');
        const lives = await allOrNone(victim, told(occasion, outcome));
        if (!lives) failed++;
        if (outcome.status === 0) expect(lives, told(occasion, outcome)).toBe(true);
        expect(traces(victim), told(occasion, outcome)).toEqual(before);
      }
      console.log(`restores of a tree with a failing call: ${all.length}, of which left nothing: ${failed}`);
      await victim.restore();
      await victim.verdict({ limitMs: 20_000 });
    },
    LONG * 2,
  );
});

function told({ call, when, of }: { call: string; when: number; of: number }, outcome: Outcome): string {
  return `${call} number ${when} of ${of} fails; ${outcome.stderr.slice(-300)}`;
}

test('a restore that fails late leaves no zombies of the tree', async () => {
  using victim = await Victim.start('zombies', ['leaders']);
  const members = victim.members();
  await victim.dump();
  rmSync(join(victim.dir, 'out'));
  const outcome = await stasis(victim.restoreLine(), { cwd: victim.dir });
  expect(outcome.stderr).toContain('/out');
  expect(outcome.status).toBe(1);
  expect(members.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
});

test('a full disk is told, and the tree lives on', async () => {
  using victim = await tree();
  const before = await victim.settled();
  using small = new SmallDisk(victim.dir, '2m');
  const line = ['dump', '-t', String(victim.pid), '-D', small.dir, '-W', victim.dir, '-o', 'full.log'];
  const outcome = await stasis(line);
  expect(outcome.status).not.toBe(0);
  expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
  expect(existsSync(join(small.dir, 'inventory.img'))).toBe(false);
  await noneHarmed(victim, before, 'disk full');
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);
