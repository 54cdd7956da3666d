/** The store of snapshots: what comes out of it is restored; who is killed, and a full disk, leave it as it was. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buryOrphans } from './kit/bury-orphans.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { type Outcome, type RunOptions, stasis, stasisOk } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

let dir: string;
let store: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-store-'));
  store = join(dir, 'store');
});

afterEach(() => rmSync(dir, { recursive: true, force: true }));

const line = (...words: string[]): string[] => ['store', ...words, '--store', store];

/** Runs a command of the store, which must succeed; returns what it says in JSON. */
async function ask(...words: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await stasisOk([...line(...words), '--json']);
  return JSON.parse(stdout);
}

const names = async (): Promise<unknown> => {
  const { snapshots } = await ask('ls');
  return (snapshots as { name: string }[]).map(({ name }) => name);
};

/** Bytes of all packs. */
function bytesOf(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** The images of a snapshot, out of the store, must be those of a folder. */
async function requireSame(name: string, images: string): Promise<void> {
  const folder = join(dir, `again-${name}`);
  await ask('get', name, '-D', folder);
  expect(execFileSync('diff', ['-r', images, folder], { encoding: 'utf8' })).toBe('');
  rmSync(folder, { recursive: true });
}

/** Dumps a victim that runs on, again and again, into the store under the names s0, s1, …; returns the folders. */
async function addMany(victim: Victim, count: number): Promise<string[]> {
  const folders: string[] = [];
  for (let i = 0; i < count; i++) {
    await victim.dump(['-R']);
    folders.push(victim.images);
    await ask('add', `s${i}`, '-D', victim.images);
  }
  return folders;
}

test('snapshots of a program that changes little cost little', async () => {
  using victim = await Victim.start('memory');
  const folders = await addMany(victim, 10);
  const plain = folders.reduce((sum, folder) => sum + bytesOf(folder), 0);
  expect(bytesOf(join(store, 'packs'))).toBeLessThan(0.2 * plain);
}, 60_000);

test('any snapshot of a program that runs on can be restored', async () => {
  using victim = await Victim.start('scribbler', ['20']);
  const folders = await addMany(victim, 3);
  for (const [i, folder] of folders.entries()) await requireSame(`s${i}`, folder);
  for (const i of [0, 2]) await ask('rm', `s${i}`);
  expect((await ask('gc')).freed).toBeGreaterThan(0);
  expect(await names()).toEqual(['s1']);
  expect((await ask('check')).wrong).toEqual([]);
  victim.kill();
  buryOrphans(victim.pid);
  await victim.waitGone();
  for (const folder of folders) rmSync(folder, { recursive: true });
  await ask('get', 's1', '-D', victim.images);
  await victim.restore(['--verify']);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('a chain comes out as one that can be restored', async () => {
  using victim = await Victim.start('scribbler', ['20']);
  const first = victim.dumpLine();
  first[0] = 'pre-dump';
  await stasisOk(first, join(victim.images, 'dump.log'));
  const before = victim.images.slice(victim.images.lastIndexOf('/') + 1);
  await victim.dump(['--prev-images-dir', `../${before}`]);
  await ask('add', 'chain', '-D', victim.images);
  rmSync(join(victim.dir, before), { recursive: true });
  rmSync(victim.images, { recursive: true });
  await ask('get', 'chain', '-D', victim.images);
  buryOrphans(victim.pid);
  await victim.restore(['--verify']);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

/** Runs a command of the store that is killed after some milliseconds. */
function killed(ms: number, ...words: string[]): Promise<Outcome> {
  const options: RunOptions = {
    started: (pid) => {
      setTimeout(() => {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It is through.
        }
      }, ms);
    },
  };
  return stasis(line(...words), options);
}

test('SIGKILL at any moment leaves all snapshots as they were', async () => {
  using victim = await Victim.start('memory');
  await victim.dump(['-R']);
  const first = victim.images;
  await victim.dump(['-R']);
  const began = performance.now();
  await ask('add', 'first', '-D', first);
  const span = performance.now() - began;
  let through = 0;
  for (let i = 0; i < 20; i++) {
    await killed(Math.random() * 1.3 * span, 'add', `s${i}`, '-D', victim.images);
    if (((await names()) as string[]).includes(`s${i}`)) {
      through++;
      await requireSame(`s${i}`, victim.images);
      await ask('rm', `s${i}`);
    }
    await killed(Math.random() * 1.3 * span, 'gc');
    expect((await ask('check')).wrong).toEqual([]);
  }
  console.log(`adds that were killed: 20, of which ${through} were complete`);
  await requireSame('first', first);
  await ask('gc');
  expect(bytesOf(join(store, 'packs'))).toBeLessThan(1.2 * bytesOf(first));
}, 120_000);

test('a full disk is told, and nothing is left on it', async () => {
  using victim = await Victim.start('memory');
  await victim.dump(['-R']);
  const size = bytesOf(victim.images);
  using disk = new SmallDisk(dir, `${Math.ceil(size / 2 / 4096) * 4}k`);
  const elsewhere = store;
  store = join(disk.dir, 'store');
  const added = await stasis(line('add', 'a', '-D', victim.images));
  expect([added.status, added.stderr]).toEqual([1, expect.stringMatching(/ENOSPC|No space/)]);
  expect(await names()).toEqual([]);
  expect(readdirSync(join(store, 'packs'))).toEqual([]);
  store = elsewhere;
  await ask('add', 'a', '-D', victim.images);
  const got = await stasis(line('get', 'a', '-D', join(disk.dir, 'got')));
  expect([got.status, got.stderr]).toEqual([1, expect.stringMatching(/ENOSPC|No space/)]);
  expect(readdirSync(join(disk.dir, 'got'))).toEqual([]);
}, 60_000);

test('what cannot be is told with what helps', async () => {
  const cases: readonly [words: string[], pattern: RegExp][] = [
    [['store'], /needs "add", "get"/],
    [['store', 'put'], /needs "add", "get"/],
    [line('add'), /needs the name of a snapshot/],
    [line('ls', 'x'), /takes no name/],
    [line('ls'), /is no store of snapshots[\s\S]*--store/],
    [line('add', 'a', '-D', dir), /no inventory/],
    [line('add', '../a', '-D', dir), /cannot be the name/],
    [line('gc', '--tree', '1'), /--tree/],
  ];
  for (const [words, pattern] of cases) {
    const { status, stderr } = await stasis(words);
    expect([words, status, stderr]).toEqual([words, 1, expect.stringMatching(pattern)]);
  }
}, 30_000);
