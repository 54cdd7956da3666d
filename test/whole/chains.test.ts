/** Restores of memory that is spread over the images of several dumps. */
import { expect, test } from 'bun:test';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { splitInThree, splitOff } from './kit/chain.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

for (const name of ['memory', 'sharedmem', 'segments', 'inheritance', 'sysv', 'threads']) {
  test(`${name}: from three sets of images`, async () => {
    using victim = await Victim.start(name);
    if (victim.skipped) return;
    await victim.dump();
    splitInThree(victim.images);
    await victim.restore();
    await victim.verdict();
  }, 30_000);
}

test('a set that is missing is named before any process exists', async () => {
  using victim = await Victim.start('memory');
  await victim.dump();
  const parent = splitOff(victim.images, `${victim.images}-before`);
  renameSync(parent, `${parent}-moved`);
  const outcome = await stasis(victim.restoreLine());
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/pagemap-\d+\.img: pages of it are in the images of an earlier dump, and there is no/);
  expect(victim.exists()).toBe(false);
  renameSync(`${parent}-moved`, parent);
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a page of shared memory that no set has is told before any process exists', async () => {
  using victim = await Victim.start('sharedmem');
  await victim.dump();
  const parent = splitOff(victim.images, `${victim.images}-before`);
  const [name = ''] = [...new Bun.Glob('pagemap-shmem-*.img').scanSync(parent)];
  const kept = readFileSync(join(parent, name));
  rmSync(join(parent, name));
  const outcome = await stasis(victim.restoreLine());
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(
    /pagemap-shmem-\d+\.img: the page at 0x[\da-f]+ is said to be in the parent, but is not/,
  );
  expect(victim.exists()).toBe(false);
  writeFileSync(join(parent, name), kept);
  await victim.restore();
  await victim.verdict();
}, 30_000);
