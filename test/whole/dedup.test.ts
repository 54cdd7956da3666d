/** What earlier images of a chain hold in vain is freed, and nobody takes the holes for memory. */
import { expect, test } from 'bun:test';
import { closeSync, fstatSync, fsyncSync, openSync, readdirSync, type Stats, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buryOrphans } from './kit/bury-orphans.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { sleep } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** The status of a file that is on the disk: only then it is certain how many blocks its list of extents takes. */
function settledStatus(path: string): Stats {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
    return fstatSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Bytes on the disk of the pages files of a set, and the size that the files have. */
function sizesOf(dir: string): { readonly used: number; readonly size: number } {
  const all = readdirSync(dir)
    .filter((name) => /^pages-/.test(name))
    .map((name) => settledStatus(join(dir, name)));
  return {
    used: all.reduce((sum, { blocks }) => sum + blocks * 512, 0),
    size: all.reduce((sum, { size }) => sum + size, 0),
  };
}

/** Makes a link of a chain; answers its directory. */
async function link(
  victim: Victim,
  command: 'dump' | 'pre-dump',
  previous: string,
  ...more: string[]
): Promise<string> {
  const line = victim.dumpLine([
    ...(previous ? ['--prev-images-dir', `../${previous.replace(/.*\//, '')}`] : []),
    ...more,
  ]);
  line[0] = command;
  await stasisOk(line, join(victim.images, 'dump.log'), { limitMs: 60_000 });
  await sleep(30);
  return victim.images;
}

async function requireRight(victim: Victim): Promise<void> {
  buryOrphans(victim.pid);
  await victim.restore(['--verify'], { limitMs: 60_000 });
  await sleep(50);
  await victim.verdict({ limitMs: 20_000 });
}

test('dedup: the files keep their size, the last images are whole, and earlier ones are refused', async () => {
  using victim = await Victim.start('scribbler');
  const first = await link(victim, 'dump', '', '-R', '--track-mem');
  const second = await link(victim, 'pre-dump', first);
  const third = await link(victim, 'dump', second);
  await victim.waitGone();
  const before = [first, second, third].map(sizesOf);
  for (const dir of [second, third]) await stasisOk(['dedup', '-D', dir]);
  const after = [first, second, third].map(sizesOf);
  expect(after.map(({ size }) => size)).toEqual(before.map(({ size }) => size));
  expect(after[0]?.used).toBeLessThan((before[0]?.used ?? 0) * 0.9);
  expect(after[1]?.used).toBeLessThan(before[1]?.used ?? 0);
  expect(after[2]?.used).toBe(before[2]?.used as number);
  // Once more frees nothing more.
  await stasisOk(['dedup', '-D', third]);
  expect([first, second, third].map(sizesOf)).toEqual(after);
  victim.images = first;
  const refused = await stasis(victim.restoreLine());
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(
    /pagemap-(shmem-)?\d+\.img: the page at 0x[\da-f]+, or one behind it, was freed .*\nHint: restore from/,
  );
  expect(victim.exists()).toBe(false);
  victim.images = third;
  await requireRight(victim);
}, 120_000);

test('--auto-dedup: each dump of a chain frees what it has replaced', async () => {
  using victim = await Victim.start('scribbler');
  let dir = await link(victim, 'pre-dump', '');
  const first = dir;
  for (let round = 0; round < 4; round++) dir = await link(victim, 'pre-dump', dir, '--auto-dedup');
  await link(victim, 'dump', dir, '--auto-dedup');
  await victim.waitGone();
  const { used, size } = sizesOf(first);
  expect(used).toBeLessThan(size * 0.9);
  await requireRight(victim);
}, 120_000);

test('--auto-dedup at a restore frees the images of the whole chain when the tree runs', async () => {
  using victim = await Victim.start('scribbler');
  const first = await link(victim, 'pre-dump', '');
  const second = await link(victim, 'dump', first);
  buryOrphans(victim.pid);
  await victim.restore(['--auto-dedup'], { limitMs: 60_000 });
  expect([first, second].map((dir) => sizesOf(dir).used)).toEqual([0, 0]);
  const again = await stasis(victim.restoreLine());
  expect([again.status, again.stderr]).toEqual([1, expect.stringMatching(/was freed .*\nHint: restore from/)]);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('--auto-dedup frees nothing if the restore fails, nor where the images are needed', async () => {
  using victim = await Victim.start('memory');
  await victim.dump();
  await victim.waitGone();
  const { used } = sizesOf(victim.images);
  const pidfile = join(victim.images, 'pid');
  writeFileSync(pidfile, '');
  const failed = await stasis(victim.restoreLine(['--auto-dedup', '--pidfile', pidfile]));
  expect(failed.status).toBe(1);
  for (const option of ['--lazy-pages', '--from=x.tar']) {
    const refused = await stasis(victim.restoreLine(['--auto-dedup', option]));
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(/--auto-dedup: /)]);
  }
  expect(sizesOf(victim.images).used).toBe(used);
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('dedup without images before these', async () => {
  using victim = await Victim.start('memory');
  await victim.dump();
  const outcome = await stasis(['dedup', '-D', victim.images]);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/parent: there are no images before these\nHint: name with -D/);
}, 30_000);
