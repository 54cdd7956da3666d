/** Chains of dumps of a program that never stops writing: whatever link it is restored from, every byte is right. */
import { expect, test } from 'bun:test';
import { readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { findKeepers } from '../../src/memory/tracking/keeper.ts';
import { buryOrphans } from './kit/bury-orphans.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

type Link = 'pre-dump' | 'snapshot' | 'dump';

/** Makes a link of a chain in a new directory. */
async function link(victim: Victim, kind: Link, previous: string | undefined): Promise<string> {
  const line = victim.dumpLine(previous === undefined ? [] : ['--prev-images-dir', `../${previous}`]);
  if (kind === 'pre-dump') line[0] = 'pre-dump';
  if (kind === 'snapshot') line.push('-R', '--track-mem');
  await stasisOk(line, join(victim.images, 'dump.log'), { limitMs: 60_000 });
  if (kind === 'dump') await victim.waitGone();
  return victim.images;
}

const nameOf = (dir: string): string => dir.slice(dir.lastIndexOf('/') + 1);

/** Restores from a link, and asks whether all memory is what it has to be. */
async function requireRight(victim: Victim, dir: string): Promise<void> {
  truncateSync(join(victim.dir, 'ask'), 0);
  truncateSync(join(victim.dir, 'out'), 0);
  victim.images = dir;
  buryOrphans(victim.pid);
  await victim.restore();
  await sleep(50);
  await victim.verdict({ limitMs: 20_000 });
  victim.kill();
  await victim.waitGone();
}

test('a chain of pre-dumps and snapshots, restored from each of its links', async () => {
  using victim = await Victim.start('scribbler');
  const links: string[] = [];
  let previous: string | undefined;
  const rounds = Number(process.env.STASIS_ROUNDS ?? 21);
  for (let round = 0; round < rounds; round++) {
    const kind = round === rounds - 1 ? 'dump' : round % 3 === 0 ? 'pre-dump' : 'snapshot';
    const dir = await link(victim, kind, previous);
    expect(readFileSync(join(dir, 'dump.log'), 'utf8')).not.toMatch(/Warn|nobody has noticed/);
    previous = nameOf(dir);
    if (kind !== 'pre-dump') links.push(dir);
    await sleep(Math.random() * 60);
  }
  for (const dir of links) await requireRight(victim, dir);
}, 300_000);

/** The processes that note what changes in a victim's memory. */
function keepersOf(victim: Victim): number[] {
  return findKeepers()
    .filter(({ record }) => record.root === victim.pid)
    .map(({ pid }) => pid);
}

const written = (dir: string): number => statSync(join(dir, 'pages-1.img')).size;

test('what changes is noted by a process that ends with the tree, and that each dump replaces', async () => {
  using victim = await Victim.start('memory');
  const before = await victim.settled();
  const first = await link(victim, 'pre-dump', undefined);
  // The kernel shows that somebody watches.
  const isMore = (text: string): boolean => {
    const [was, is] = text.replace(/^.*?was /, '').split(', is ');
    return was !== is?.replace(' uw', '');
  };
  expect(differences(before, await victim.settled()).filter(isMore)).toEqual([]);
  const [keeper] = keepersOf(victim);
  expect(keeper).toBeGreaterThan(0);
  const second = await link(victim, 'snapshot', nameOf(first));
  expect(keepersOf(victim)).toHaveLength(1);
  expect(keepersOf(victim)).not.toContain(keeper);
  expect(written(second)).toBeLessThan(written(first) / 2);
  await link(victim, 'dump', nameOf(second));
  await until(
    () => (keepersOf(victim).length === 0 ? true : undefined),
    5000,
    () => 'a keeper stays',
  );
  await victim.restore();
  await victim.verdict();
}, 60_000);

test('without that process, or with images of another dump, everything is saved', async () => {
  using victim = await Victim.start('memory');
  const first = await link(victim, 'pre-dump', undefined);
  for (const pid of keepersOf(victim)) process.kill(pid, 'SIGKILL');
  await until(
    () => (keepersOf(victim).length === 0 ? true : undefined),
    5000,
    () => 'a keeper stays',
  );
  const second = await link(victim, 'pre-dump', nameOf(first));
  expect(readFileSync(join(second, 'dump.log'), 'utf8')).toMatch(/nobody has noticed what has changed/);
  expect(written(second)).toBeGreaterThan(written(first) / 2);
  await link(victim, 'pre-dump', nameOf(second));
  const fourth = await link(victim, 'snapshot', nameOf(second));
  expect(readFileSync(join(fourth, 'dump.log'), 'utf8')).toMatch(/nobody has noticed what has changed/);
  expect(written(fourth)).toBeGreaterThan(written(first) / 2);
  await link(victim, 'dump', nameOf(fourth));
  await victim.restore();
  await victim.verdict();
}, 60_000);

test('images of a previous dump that are not there are an error before the tree is touched', async () => {
  using victim = await Victim.start('memory');
  for (const command of ['pre-dump', 'dump']) {
    const line = victim.dumpLine(['--prev-images-dir', '../nowhere']);
    line[0] = command;
    const outcome = await stasis(line);
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(/nowhere: there are no images of a previous dump/);
  }
  expect(keepersOf(victim)).toEqual([]);
  await victim.verdict();
}, 60_000);

test('killed at any moment of a chain, Stasis harms neither the tree nor the next dump', async () => {
  using victim = await Victim.start('scribbler', ['60']);
  let previous: string | undefined;
  const took: number[] = [];
  for (let round = 0; round < 24; round++) {
    const line = victim.dumpLine(previous === undefined ? [] : ['--prev-images-dir', `../${previous}`]);
    if (round % 2 === 0) line[0] = 'pre-dump';
    else line.push('-R', '--track-mem');
    // Every third one is let be: what is killed in between must not spoil it.
    const patience = round % 3 === 0 ? 30_000 : Math.random() * 1.1 * Math.max(...took);
    const outcome = await stasis(line, { limitMs: patience });
    if (outcome.status === 0) {
      took.push(outcome.ms);
      previous = nameOf(victim.images);
    }
    expect(victim.alive()).toBe(true);
  }
  const last = await link(victim, 'dump', previous);
  await requireRight(victim, last);
}, 120_000);

test('a dump on its own', async () => {
  using victim = await Victim.start('scribbler');
  await sleep(200);
  await requireRight(victim, await link(victim, 'dump', undefined));
}, 60_000);
