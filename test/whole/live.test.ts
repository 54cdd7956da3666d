/**
 * Dumps that leave a tree with much memory running: their images are of one moment, although memory is stored while
 * the tree runs, and the tree notices nothing.
 */
import { describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { buryOrphans } from './kit/bury-orphans.ts';
import { duration, free, goesOn, HARM, moments, occasions, stasisKilled, unharmed, withFailure } from './kit/harm.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { type Outcome, stasis, stasisOk } from './kit/stasis.ts';
import { descendants, statOf } from './kit/tree.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const SIGTERM = 15;
/** Pages of each of the victim's regions. */
const SIZE = '400';
const LIMIT = { limitMs: 120_000 };
const KILLS = Math.ceil(HARM / 2);

const log = (victim: Victim): string => readFileSync(join(victim.images, 'dump.log'), 'utf8');
/** How many processes have kept their memory. */
const kept = (victim: Victim): number => log(victim).match(/keeps its memory as it is/g)?.length ?? 0;

async function snapshot(victim: Victim, options: readonly string[] = []): Promise<string> {
  await stasisOk(victim.dumpLine(['-R', ...options]), join(victim.images, 'dump.log'), LIMIT);
  return victim.images;
}

/** Starts the victim, and lets it write until there is enough, and it is old enough, for a copy to be made. */
async function scribbler(...words: string[]): Promise<Victim> {
  const victim = await Victim.start('scribbler', [SIZE, ...words]);
  await sleep(1200);
  return victim;
}

/** Asks the victim itself; it ends then. */
async function verdict(victim: Victim): Promise<void> {
  await victim.verdict({ limitMs: 30_000 });
  victim.kill();
  await victim.waitGone();
}

/** Restores from some images, and asks whether all memory is what it has to be. */
async function requireRight(victim: Victim, dir: string, options: readonly string[] = []): Promise<void> {
  truncateSync(join(victim.dir, 'ask'), 0);
  truncateSync(join(victim.dir, 'out'), 0);
  victim.images = dir;
  buryOrphans(victim.pid);
  await victim.restore(['--verify', ...options], LIMIT);
  await sleep(50);
  await verdict(victim);
}

test('each of many snapshots of a tree that never stops writing is of one moment', async () => {
  using victim = await scribbler();
  const dirs: string[] = [];
  for (let round = 0; round < Number(process.env.STASIS_ROUNDS ?? 5); round++) {
    dirs.push(await snapshot(victim));
    expect(kept(victim)).toBe(2);
    expect(log(victim)).not.toMatch(/Warn|Error/);
    await sleep(Math.random() * 100);
  }
  await verdict(victim);
  for (const dir of dirs) await requireRight(victim, dir);
}, 300_000);

/** How many pages of two files of the same size differ. */
function differingPages(one: Buffer, other: Buffer): number {
  let count = 0;
  for (let at = 0; at < one.length; at += 4096) {
    if (!one.subarray(at, at + 4096).equals(other.subarray(at, at + 4096))) count++;
  }
  return count;
}

test('the images are those of a dump that stores all while the tree is stopped', async () => {
  using victim = await Victim.start('eatmem', ['64', '1000000'], { silent: true });
  await victim.waitFor(/^(1)$/m, 10_000);
  await sleep(1200);
  const live = await snapshot(victim);
  expect(kept(victim)).toBe(1);
  // Whoever is called at the end of a dump finds the tree stopped.
  const plain = await snapshot(victim, ['--action-script', '/bin/true']);
  expect(kept(victim)).toBe(0);
  for (const name of [`pagemap-${victim.pid}.img`, 'pages-1.img']) {
    const [one, other] = [live, plain].map((dir) => readFileSync(join(dir, name))) as [Buffer, Buffer];
    expect(one.length, name).toBe(other.length);
    // The kernel notes in memory of the thread on which processor it runs (rseq), and it may have run meanwhile.
    expect(differingPages(one, other), name).toBeLessThanOrEqual(name.startsWith('pages-') ? 2 : 0);
  }
  victim.kill();
  await victim.waitGone();
  victim.images = live;
  await victim.restore(['--verify']);
}, 60_000);

describe('together with', () => {
  test('--compress, --to, and --track-mem in a chain', async () => {
    using victim = await scribbler();
    const compressed = await snapshot(victim, ['--compress']);
    expect(kept(victim)).toBe(2);
    const archive = join(victim.dir, 'archive');
    await snapshot(victim, ['--to', archive]);
    expect(kept(victim)).toBe(2);
    const first = await snapshot(victim, ['--track-mem']);
    await sleep(30);
    const second = await snapshot(victim, ['--track-mem', '--prev-images-dir', `../${first.split('/').at(-1)}`]);
    expect(kept(victim)).toBe(2);
    await sleep(30);
    const third = await snapshot(victim, [
      ...['--track-mem', '--auto-dedup', '--prev-images-dir', `../${second.split('/').at(-1)}`],
    ]);
    expect(log(victim)).not.toMatch(/Warn|Error|nobody has noticed/);
    await verdict(victim);
    await requireRight(victim, compressed);
    await requireRight(victim, compressed, ['--from', archive]);
    await requireRight(victim, third);
  }, 300_000);
});

describe('the tree does not notice', () => {
  test('processes it does not wait for and that send no signal', async () => {
    using victim = await scribbler('seccomp');
    const before = new Set(victim.members());
    const dirs = [await snapshot(victim), await snapshot(victim)];
    expect(kept(victim)).toBe(2);
    expect(victim.members().filter((pid) => !before.has(pid))).toEqual([]);
    await verdict(victim);
    for (const dir of dirs) await requireRight(victim, dir);
  }, 120_000);

  test('that it may make no more processes: its memory is stored while it is stopped', async () => {
    using victim = await scribbler('nproc');
    const dir = await snapshot(victim);
    expect(kept(victim)).toBe(0);
    expect(log(victim)).toMatch(/it may make no more processes/);
    await verdict(victim);
    await requireRight(victim, dir);
  }, 120_000);
});

test('a tree in namespaces of its own, whose processes have other numbers', async () => {
  using victim = await Victim.start('scribbler', [SIZE, 'seccomp'], {
    unshare: ['--pid', '--mount-proc', '--uts', '--ipc', '--net'],
    ...{ limitMs: 20_000 },
  });
  await sleep(1200);
  const members = new Set(victim.members());
  const dir = await snapshot(victim);
  expect(kept(victim)).toBe(2);
  expect(victim.members().filter((pid) => !members.has(pid))).toEqual([]);
  await verdict(victim);
  await requireRight(victim, dir);
}, 120_000);

/** Mebibytes of a victim whose dump is rehearsed; a quarter of them is written to. */
const LARGE = '640';

/** The processes that dumps are rehearsed with. */
function rehearsing(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1') === 'sleep\0' + '10\0';
      } catch {
        return false;
      }
    });
}

test('the dump of a larger tree is rehearsed with a process of ours, of which nothing is left', async () => {
  using victim = await Victim.start('guarded', [LARGE], { limitMs: 20_000 });
  await sleep(1200);
  const members = new Set(victim.members());
  const before = rehearsing();
  const dir = await snapshot(victim);
  expect(log(victim)).toMatch(/rehearsed in/);
  expect(log(victim)).not.toMatch(/no rehearsal|Warn|Error/);
  expect(kept(victim)).toBe(1);
  expect(rehearsing()).toEqual(before);
  expect(strangers(victim, members)).toEqual([]);
  const span = 150;
  for (const moment of moments(KILLS, span)) {
    await stasisKilled(victim.dumpLine(['-R']), moment);
    await free(victim.pid);
    await until(
      () => (rehearsing().every((pid) => before.includes(pid)) ? true : undefined),
      3000,
      () => `left: ${rehearsing()}`,
    );
  }
  await until(
    () => (strangers(victim, members).every(isZombie) ? true : undefined),
    3000,
    () => `a copy lives: ${strangers(victim, members)}`,
  );
  await verdict(victim);
  await requireRight(victim, dir);
}, 180_000);

test('guard regions, advice and pages given back, of a task whose pages are looked for when it runs again', async () => {
  using victim = await Victim.start('guarded', ['64']);
  await sleep(1200);
  const live = await snapshot(victim);
  expect(kept(victim)).toBe(1);
  const plain = await snapshot(victim, ['--action-script', '/bin/true']);
  for (const name of [`pagemap-${victim.pid}.img`, `mm-${victim.pid}.img`]) {
    const [one, other] = [live, plain].map((dir) => readFileSync(join(dir, name)).toString('hex'));
    expect(one, name).toBe(other);
  }
  await verdict(victim);
  await requireRight(victim, live);
}, 60_000);

test('small trees go the plain way', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  await snapshot(victim);
  expect(log(victim)).not.toMatch(/keeps its memory|is stopped until/);
  await victim.verdict();
}, 60_000);

/** Processes of the tree that were not there before. */
function strangers(victim: Victim, members: ReadonlySet<number>): number[] {
  return descendants(victim.pid)
    .map(({ pid }) => pid)
    .filter((pid) => !members.has(pid));
}

describe('when Stasis fails', () => {
  test('a full disk is an error, the tree goes on, and nothing is left', async () => {
    using victim = await scribbler('seccomp');
    const members = new Set(victim.members());
    using disk = new SmallDisk(victim.dir, '24m');
    const line = victim.dumpLine(['-R', '--json']);
    line[line.indexOf('-D') + 1] = disk.dir;
    const outcome: Outcome = await stasis([...line, '-W', victim.dir], LIMIT);
    expect(outcome.status).toBe(1);
    expect(outcome.stdout + outcome.stderr).toMatch(/"code":"IO"/);
    expect(readdirSync(disk.dir).filter((name) => name.endsWith('.img'))).toEqual([]);
    expect(strangers(victim, members)).toEqual([]);
    await verdict(victim);
  }, 120_000);

  test(
    'any system call of Stasis may fail: the tree goes on, and nothing is left with it',
    async () => {
      using victim = await Victim.start('sturdy', ['20']);
      await sleep(1200);
      const members = new Set(victim.members());
      const before = await victim.settled();
      const all = await occasions(victim.dumpLine(['-R']), Math.max(1, Math.round(HARM / 30)), victim);
      let failed = 0;
      for (const occasion of all) {
        const outcome = await withFailure(victim, victim.dumpLine(['-R']), occasion, 'EIO');
        if (outcome.status !== 0) failed++;
        try {
          await free(victim.pid);
          // A copy that could not be reaped at once is reaped when Stasis has ended.
          await until(
            () => (strangers(victim, members).length === 0 ? true : undefined),
            3000,
            () => `left: ${strangers(victim, members)}`,
          );
          await goesOn(victim);
          await unharmed(before, victim);
        } catch (error) {
          throw new Error(`${JSON.stringify(occasion)}: ${error}; ${outcome.stderr.slice(-300)}`);
        }
      }
      console.log(`dumps with a failing call: ${all.length}, of which ended with an error: ${failed}`);
      await victim.verdict();
    },
    60_000 + HARM * 4000,
  );

  test('SIGTERM while memory is stored: the same', async () => {
    using victim = await scribbler('seccomp');
    const members = new Set(victim.members());
    const span = await duration(() => stasisOk(victim.dumpLine(['-R']), undefined, LIMIT));
    for (const moment of moments(5, span)) {
      const started = (pid: number): void => void setTimeout(() => trySyscall('kill', pid, SIGTERM), moment);
      const outcome = await stasis(victim.dumpLine(['-R']), { ...LIMIT, started });
      const isWhole = existsSync(join(victim.images, 'inventory.img'));
      expect(isWhole).toBe(outcome.status === 0);
      // What could not be reaped by then is reaped a moment after the end of Stasis.
      await until(
        () => (strangers(victim, members).length === 0 ? true : undefined),
        3000,
        () => `left: ${strangers(victim, members).map((pid) => `${pid} ${statOf(pid)?.comm} ${statOf(pid)?.state}`)}`,
      );
    }
    await verdict(victim);
  }, 120_000);

  test(
    'SIGKILL at any moment: no copy lives on, and the next dump removes what is left of it',
    async () => {
      using victim = await scribbler('seccomp');
      const members = new Set(victim.members());
      const span = await duration(() => stasisOk(victim.dumpLine(['-R']), undefined, LIMIT));
      let left = 0;
      for (const moment of moments(KILLS, span)) {
        await stasisKilled(victim.dumpLine(['-R']), moment);
        await free(victim.pid);
        await until(
          () => (strangers(victim, members).every(isZombie) ? true : undefined),
          3000,
          () => `a copy lives: ${strangers(victim, members)}`,
        );
        await sleep(100);
        left += strangers(victim, members).length;
      }
      const dir = await snapshot(victim);
      // One that was being made when Stasis was killed has no name of its own yet: nobody knows it from the tree's.
      const named = strangers(victim, members).filter((pid) => statOf(pid)?.comm === 'stasis-copy');
      expect(named).toEqual([]);
      console.log(`left as zombies: ${left} in ${KILLS}`);
      await verdict(victim);
      await requireRight(victim, dir);
    },
    60_000 + HARM * 4000,
  );
});

function isZombie(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

test('a process that keeps memory can be killed: then there are no images, and the tree goes on', async () => {
  using victim = await scribbler('seccomp');
  const members = new Set(victim.members());
  const dump = stasis(victim.dumpLine(['-R', '--compress', '--json']), LIMIT);
  const [copy] = await until(
    () => (strangers(victim, members).length === 2 ? strangers(victim, members) : undefined),
    20_000,
    () => 'no copies',
  );
  process.kill(copy as number, 'SIGKILL');
  const outcome = await dump;
  if (outcome.status !== 0) expect(outcome.stdout + outcome.stderr).toMatch(/"code":"COPY_KILLED"/);
  expect(existsSync(join(victim.images, 'inventory.img'))).toBe(outcome.status === 0);
  expect(strangers(victim, members)).toEqual([]);
  await verdict(victim);
}, 120_000);
