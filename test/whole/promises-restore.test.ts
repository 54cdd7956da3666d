/** The second promise: a restore is all or nothing. The fourth: an image is never half an image. */
import { describe, expect, test } from 'bun:test';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NR } from '../../src/kernel/nr.ts';
import { helperBinary } from './kit/compile.ts';
import {
  free,
  goesOn,
  HARM,
  moments,
  nothingLeft,
  occasions,
  stasisKilled,
  strays,
  traces,
  withFailure,
} from './kit/harm.ts';
import { type Outcome, stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const LONG = 60_000 + HARM * 2000;

/** A victim that is only images by now. */
async function saved(mebibytes = '8'): Promise<Victim> {
  const victim = await Victim.start('sturdy', [mebibytes]);
  try {
    await victim.settled();
    await victim.dump();
    return victim;
  } catch (error) {
    victim[Symbol.dispose]();
    throw error;
  }
}

/** After a restore that may have failed: the task is there and well, and is ended for the next time; or nothing is there. */
async function allOrNothing(victim: Victim, note: string): Promise<boolean> {
  try {
    const there = victim.alive() && strays(victim).length === 0 && !traced(victim);
    if (there) {
      await free(victim.pid);
      await goesOn(victim);
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

function traced(victim: Victim): boolean {
  try {
    return /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${victim.pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

describe('all or nothing', () => {
  test(
    'SIGKILL to Stasis at any moment of a restore',
    async () => {
      using victim = await saved('16');
      const times: number[] = [];
      for (let i = 0; i < 3; i++) {
        times.push((await victim.restore()).ms);
        await allOrNothing(victim, 'not killed');
      }
      const span = times.sort((a, b) => a - b)[1] ?? 0;
      const before = traces(victim);
      let lived = 0;
      for (const moment of moments(HARM, span * 1.25)) {
        const outcome = await stasisKilled(victim.restoreLine(), moment, victim.dir);
        // The task may be in the middle of its death: its tracer has just gone.
        if (outcome.signal) await Bun.sleep(5);
        const note = `killed after ${moment.toFixed(1)} of ${span.toFixed(1)} ms`;
        if (await allOrNothing(victim, note)) lived++;
        expect(traces(victim), note).toEqual(before);
      }
      console.log(`restored before the kill: ${lived} of ${HARM}`);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test(
    'any system call of Stasis may fail',
    async () => {
      using victim = await saved('4');
      const before = traces(victim);
      const all = await occasions(victim.restoreLine(), Math.max(2, Math.round(HARM / 15)), victim);
      await allOrNothing(victim, 'under strace');
      let failed = 0;
      for (const occasion of all) {
        const outcome = await withFailure(victim, victim.restoreLine(), occasion, 'EIO');
        const { call, when, of } = occasion;
        const note = `${call} number ${when} of ${of} fails; ${outcome.stderr.slice(-300)}`;
        const lives = await allOrNothing(victim, note);
        if (!lives) failed++;
        if (outcome.status === 0) expect(lives, note).toBe(true);
        expect(traces(victim), note).toEqual(before);
      }
      console.log(`restores with a failing call: ${all.length}, of which left nothing: ${failed}`);
      await victim.restore();
      await victim.verdict();
    },
    LONG * 2,
  );

  /** Calls that only a task in the making makes, not Stasis itself or its runtime. */
  const IN_TASK = [
    ...(['timer_create', 'timer_settime', 'setitimer', 'setresuid', 'setresgid', 'setgroups', 'capset'] as const),
    ...(['mremap', 'mlock', 'umask', 'fchdir', 'setpriority', 'sched_setattr', 'ioprio_set', 'recvmsg'] as const),
    ...([
      'preadv',
      'rt_sigqueueinfo',
      'rt_tgsigqueueinfo',
      'setsid',
      'setpgid',
      'personality',
      'dup2',
      'dup3',
    ] as const),
  ];

  test(
    'any system call of the task in the making may fail',
    async () => {
      using victim = await saved('4');
      const before = traces(victim);
      const deny = helperBinary('deny');
      let failed = 0;
      for (const call of IN_TASK) {
        const outcome = await stasis(victim.restoreLine(), { cwd: victim.dir, wrapper: [deny, String(NR[call])] });
        const note = `${call} fails; ${outcome.stderr.slice(-300)}`;
        const lives = await allOrNothing(victim, note);
        if (!lives) failed++;
        expect(outcome.status === 0, note).toBe(lives);
        if (!lives) refused(outcome);
        expect(traces(victim), note).toEqual(before);
      }
      console.log(`kinds of calls that failed in the task: ${IN_TASK.length}, restores that left nothing: ${failed}`);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test('the process ID is taken', async () => {
    using victim = await saved('1');
    await victim.restore();
    const outcome = await stasis(victim.restoreLine(), { cwd: victim.dir });
    refused(outcome);
    expect(outcome.stderr).toContain(String(victim.pid));
    await victim.verdict();
  }, 20_000);

  test('a file of the task is gone', async () => {
    using victim = await saved('1');
    rmSync(join(victim.cwd, 'data'));
    const outcome = await stasis(victim.restoreLine(), { cwd: victim.dir });
    refused(outcome);
    expect(outcome.stderr).toContain('data');
    await nothingLeft(victim);
  }, 20_000);
});

/** A clear error: not a crash, not a hang. */
function refused(outcome: Outcome): void {
  expect(outcome.signal).toBe(null);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/^Error/m);
  expect(outcome.stderr).not.toMatch(/^ {4}at /m);
}

describe('damaged images', () => {
  /** Runs a restore from a copy of the images that `damage` has been done to. */
  async function damaged(victim: Victim, note: string, damage: (folder: string) => void): Promise<Outcome> {
    const folder = join(victim.dir, 'damaged');
    rmSync(folder, { recursive: true, force: true });
    cpSync(victim.images, folder, { recursive: true });
    damage(folder);
    const outcome = await stasis(['restore', '-D', folder, '-d', '-o', 'damaged.log'], {
      limitMs: 10_000,
      cwd: victim.dir,
    });
    expect(outcome.signal, note).toBe(null);
    expect(outcome.stderr, note).not.toMatch(/^ {4}at /m);
    if (outcome.status !== 0) expect(outcome.stderr, note).toMatch(/^Error/m);
    return outcome;
  }

  function images(victim: Victim): string[] {
    return readdirSync(victim.images).filter((name) => name.endsWith('.img'));
  }

  test(
    'cut off anywhere, or gone',
    async () => {
      using victim = await saved('1');
      for (const name of images(victim)) {
        const size = statSync(join(victim.images, name)).size;
        for (const length of new Set([0, 3, 8, size >> 1, size - 1])) {
          if (length >= size) continue;
          const note = `${name} cut to ${length} of ${size} bytes`;
          const outcome = await damaged(victim, note, (folder) => truncateSync(join(folder, name), length));
          // What Stasis need not read may be damaged; then the task is whole.
          const lives = await allOrNothing(victim, note);
          const whole = OPTIONAL.test(name) || (length === 8 && LISTS.test(name));
          if (!whole) expect(outcome.status, note).not.toBe(0);
          expect(outcome.status === 0, note).toBe(lives);
        }
        const note = `${name} is gone`;
        const outcome = await damaged(victim, note, (folder) => rmSync(join(folder, name)));
        const lives = await allOrNothing(victim, note);
        expect(outcome.status === 0, note).toBe(lives);
        if (!OPTIONAL.test(name) && !SPARABLE.test(name)) expect(lives, note).toBe(false);
      }
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test(
    'with a wrong byte: an error, or a process, never half of one',
    async () => {
      using victim = await saved('1');
      const names = images(victim).filter((name) => !name.startsWith('pages-'));
      let refusals = 0;
      for (let i = 0; i < HARM; i++) {
        const name = names[i % names.length] ?? '';
        const bytes = readFileSync(join(victim.images, name));
        const at = Math.floor(Math.random() * bytes.length);
        const was = bytes[at] ?? 0;
        bytes[at] = was ^ (1 << (i % 8));
        const note = `${name} byte ${at} was ${was}, is ${bytes[at]}`;
        const outcome = await damaged(victim, note, (folder) => writeFileSync(join(folder, name), bytes));
        if (outcome.status !== 0) {
          refusals++;
          await nothingLeft(victim);
        }
        // What came up with a wrong byte in its state may be anything: another process ID, even.
        for (const pid of strays(victim)) process.kill(pid, 'SIGKILL');
        victim.kill();
        await nothingLeft(victim);
      }
      console.log(`images with a wrong byte: ${HARM}, refused ${refusals}`);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  /** Without these a task can be restored all the same. */
  const OPTIONAL = /^(stats|cgroup|seccomp|timens|ids)/;
  /** Of these, just the magic is an empty list. */
  const LISTS = /^(fdinfo|files)/;
  const SPARABLE = /^(cgroup|seccomp|stats)/;
});
