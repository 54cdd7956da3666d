/** The second promise: a restore is all or nothing. The fourth: an image is never half an image. */
import { describe, expect, test } from 'bun:test';
import { cpSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NR } from '../../src/arch/syscall-numbers.ts';
import { MANIFEST } from '../../src/images/manifest.ts';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { helperBinary } from './kit/compile.ts';
import {
  free,
  goesOn,
  HARM,
  isThere,
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

const SIGKILL = 9;

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

/**
 * After a restore that may have failed: the task is there and well, and is ended for the next time; or nothing is
 * there.
 */
async function allOrNothing(victim: Victim, note: string): Promise<boolean> {
  try {
    const there = await isThere(victim);
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
        await stasisKilled(victim.restoreLine(), moment, victim.dir);
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
  async function damaged(
    victim: Victim,
    note: string,
    damage: (folder: string) => void,
    options: readonly string[] = [],
  ): Promise<Outcome> {
    const folder = join(victim.dir, 'damaged');
    rmSync(folder, { recursive: true, force: true });
    cpSync(victim.images, folder, { recursive: true });
    damage(folder);
    const outcome = await stasis(['restore', '-D', folder, '-d', '-o', 'damaged.log', ...options], {
      limitMs: 10_000,
      cwd: victim.dir,
    });
    expect(outcome.signal, note).toBe(null);
    expect(outcome.stderr, note).not.toMatch(/^ {4}at /m);
    if (outcome.status !== 0 && options.length === 0) expect(outcome.stderr, note).toMatch(/^Error/m);
    return outcome;
  }

  /** The files of the set, our own too; not what a dump writes beside it. */
  function filesOf(victim: Victim): string[] {
    return readdirSync(victim.images).filter((name) => name.endsWith('.img') || name.startsWith('stasis-'));
  }

  /** The restore must be refused because of the images, before there is any process. */
  async function refusedFor(victim: Victim, note: string, damage: (folder: string) => void): Promise<void> {
    const outcome = await damaged(victim, note, damage, ['--json']);
    expect(outcome.status, note).toBe(1);
    expect(outcome.stdout + outcome.stderr, note).toMatch(/"kind": *"image"/);
    await nothingLeft(victim);
  }

  test(
    'cut off anywhere, or gone',
    async () => {
      using victim = await saved('1');
      const before = traces(victim);
      for (const name of filesOf(victim)) {
        const path = join(victim.images, name);
        const size = statSync(path).size;
        for (const length of new Set([0, 3, 8, ...entryEnds(path), size >> 1, size - 2])) {
          if (length < 0 || length >= size) continue;
          const note = `${name} cut to ${length} of ${size} bytes`;
          await refusedFor(victim, note, (folder) => truncateSync(join(folder, name), length));
        }
        // Without a manifest it is taken for a set of criu's.
        if (name !== MANIFEST) await refusedFor(victim, `${name} is gone`, (folder) => rmSync(join(folder, name)));
      }
      expect(traces(victim)).toEqual(before);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test(
    'with a flipped bit anywhere but in page contents',
    async () => {
      using victim = await saved('1');
      const before = traces(victim);
      const names = filesOf(victim).filter((name) => !name.startsWith('pages-') && name !== MANIFEST);
      for (let i = 0; i < HARM; i++) {
        const name = names[i % names.length] ?? '';
        const bytes = readFileSync(join(victim.images, name));
        const at = Math.floor(Math.random() * bytes.length);
        const was = bytes[at] ?? 0;
        bytes[at] = was ^ (1 << (i % 8));
        const note = `${name} byte ${at} was ${was}, is ${bytes[at]}`;
        await refusedFor(victim, note, (folder) => writeFileSync(join(folder, name), bytes));
      }
      expect(traces(victim)).toEqual(before);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test(
    'without a manifest, as from criu, with a wrong byte: an error, or a process, never half of one',
    async () => {
      using victim = await saved('1');
      rmSync(join(victim.images, MANIFEST));
      const names = filesOf(victim).filter((name) => !name.startsWith('pages-'));
      const said = victim.output();
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
        for (const pid of strays(victim)) trySyscall('kill', pid, SIGKILL);
        victim.kill();
        await nothingLeft(victim);
      }
      console.log(`images with a wrong byte: ${HARM}, refused ${refusals}`);
      // What those said that noticed that they were not themselves.
      writeFileSync(join(victim.dir, 'out'), said);
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test(
    'without a manifest, as from criu, cut after its magic',
    async () => {
      using victim = await saved('1');
      rmSync(join(victim.images, MANIFEST));
      const needed = /^(inventory|pstree|core-\d+|mm-\d+|ids-\d+|fs-\d+|files|pagemap-\d+)\.img$/;
      const names = filesOf(victim).filter((name) => needed.test(name));
      expect(names.length).toBe(8);
      for (const name of names) {
        await refusedFor(victim, `${name} cut to 8`, (folder) => truncateSync(join(folder, name), 8));
      }
      // All but the first entry of the page map: the page contents are too many then.
      const map = names.find((name) => name.startsWith('pagemap-')) ?? '';
      const [, head = 0] = entryEnds(join(victim.images, map));
      await refusedFor(victim, 'no pages', (folder) => truncateSync(join(folder, map), head));
      await victim.restore();
      await victim.verdict();
    },
    LONG,
  );

  test('what another program dumped over ours is restored without our notes', async () => {
    using victim = await saved('1');
    const manifest = readFileSync(join(victim.images, MANIFEST), 'utf8');
    const run = /"run":"([^"]+)"/.exec(manifest)?.[1] ?? '';
    const other = run.replace(/[0-9a-f]/g, (digit) => ((Number.parseInt(digit, 16) + 1) % 16).toString(16));
    const inventory = join(victim.images, 'inventory.img');
    writeFileSync(inventory, readFileSync(inventory, 'latin1').replace(run, other), 'latin1');
    await victim.restore();
    expect(readFileSync(join(victim.images, 'restore.log'), 'utf8')).toMatch(/Warn .*stasis-\*: of an earlier dump/);
    await victim.verdict();
  }, 20_000);
});

/** Where the entries of an image end, its magic first; none for other files. */
function entryEnds(path: string): number[] {
  if (!path.endsWith('.img') || /\/pages-\d+\.img$/.test(path)) return [];
  const bytes = readFileSync(path);
  const ends = [path.endsWith('/inventory.img') ? 4 : 8];
  for (let at = ends[0] as number; at + 4 <= bytes.length; ) {
    at += 4 + bytes.readUInt32LE(at);
    if (at <= bytes.length) ends.push(at);
  }
  // Long lists: the first ones, some in between, the last ones.
  const every = Math.ceil(ends.length / 12);
  return ends.filter((_, i) => i < 3 || i % every === 0 || i > ends.length - 4);
}
