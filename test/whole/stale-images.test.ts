/** Images of an earlier dump that are still in the folder, as where an engine uses one again, mean nothing. */
import { expect, test } from 'bun:test';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stasisOk } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const TMPFS = 5;

interface Mount {
  readonly fstype: number;
  readonly root: string;
  readonly ext_key?: string;
}

/**
 * Adds the image of a mount namespace of an earlier dump, in which a file system that came from the machine had the
 * device number that one of the tree's own has now.
 */
async function addEarlierMounts(folder: string): Promise<void> {
  const [name = ''] = readdirSync(folder).filter((one) => /^mountpoints-\d+\.img$/.test(one));
  const image = JSON.parse((await stasisOk(['crit', 'decode', '-i', join(folder, name)])).stdout);
  const own = (image.entries as Mount[]).filter(({ fstype, root, ext_key: key }) => {
    return fstype === TMPFS && root === '/' && !key;
  });
  expect(own.length).toBeGreaterThan(0);
  const entries = own.map((mount, i) => ({ ...mount, mnt_id: 90_000 + i, parent_mnt_id: 1, ext_key: '/' }));
  const json = join(folder, 'earlier.json');
  writeFileSync(json, JSON.stringify({ ...image, entries }));
  await stasisOk(['crit', 'encode', '-i', json, '-o', join(folder, 'mountpoints-99.img')]);
  rmSync(json);
}

test.each([
  ['with a manifest', false],
  ['without one, as criu leaves it', true],
])('mounts of an earlier dump, %s', async (_, isCrius) => {
  using victim = await Victim.start('mounts');
  await victim.dump();
  await addEarlierMounts(victim.images);
  if (isCrius) rmSync(join(victim.images, 'stasis-manifest.json'));
  await victim.restore();
  await victim.verdict();
});

test.each([
  ['plain after compressed', ['--compress'], []],
  ['compressed after plain', [], ['--compress']],
])('page contents of an earlier dump: %s', async (_, first, second) => {
  using victim = await Victim.start('memory');
  await victim.dump(['-R', ...first]);
  const folder = victim.images;
  const line = victim.dumpLine(second);
  line[line.indexOf('-D') + 1] = folder;
  victim.images = folder;
  await stasisOk(line, join(folder, 'dump.log'));
  await victim.waitGone();
  await victim.restore(['--verify']);
  await victim.verdict();
});
