/** Memory that relatives have in common, copy-on-write: neither a dump nor a restore copies it. */
import { expect, test } from 'bun:test';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { memoryOf } from './kit/tree.ts';
import { goOn, Victim } from './kit/victim.ts';

const LIMIT = 60_000;
/** MiB that all have, workers, and how many in a hundred pages each has changed. */
const FAMILY = ['48', '4', '5'];

/** In KiB, a page for each of two counted as half a page. */
const used = (victim: Victim): number => memoryOf(victim.members()).pss;

/** All workers must have had something to do. */
async function expectContent(victim: Victim): Promise<void> {
  await goOn(500);
  await victim.verdict({ limitMs: 30_000 });
}

/** Little may be added: a page of a stack here and there. */
function expectAsMuch(victim: Victim, before: number): void {
  expect(Math.abs(used(victim) - before) / before).toBeLessThan(0.03);
}

test(
  'a dump leaves it in common',
  async () => {
    using victim = await Victim.start('prefork', FAMILY, { limitMs: 30_000 });
    const before = used(victim);
    await victim.dump(['--leave-running']);
    expectAsMuch(victim, before);
    await expectContent(victim);
  },
  LIMIT,
);

test(
  'so does a restore, and another one',
  async () => {
    using victim = await Victim.start('prefork', FAMILY, { limitMs: 30_000 });
    const before = used(victim);
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.cycle();
      expectAsMuch(victim, before);
    }
    await expectContent(victim);
  },
  LIMIT,
);

test(
  'also of images that do not tell what was in common, as those of CRIU: contents are compared',
  async () => {
    using victim = await Victim.start('prefork', FAMILY, { limitMs: 30_000 });
    const before = used(victim);
    await victim.dump();
    for (const name of readdirSync(victim.images)) {
      if (name.startsWith('stasis-')) rmSync(join(victim.images, name));
    }
    await victim.restore();
    expectAsMuch(victim, before);
    await expectContent(victim);
  },
  LIMIT,
);
