/**
 * How often Stasis waits for a task. Each time the task and Stasis are switched to and away from, which takes longer
 * than anything else that is done for a task of a small tree: the figures may only fall.
 */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { callCounts } from './kit/harm.ts';
import { Victim } from './kit/victim.ts';

const [FEW, MANY] = [8, 40];

/** Waits for one task or thread more in a dump and in a restore. */
const MOST = { process: { dump: 5.5, restore: 18 }, thread: { dump: 4.5, restore: 5.5 } } as const;

test.each(Object.entries(MOST))(
  'for each %s',
  async (what, most) => {
    const few = await waits(what, FEW);
    const many = await waits(what, MANY);
    const more = { dump: (many.dump - few.dump) / (MANY - FEW), restore: (many.restore - few.restore) / (MANY - FEW) };
    console.log(`waits for each ${what}: ${more.dump.toFixed(1)} in a dump, ${more.restore.toFixed(1)} in a restore`);
    expect(more.dump).toBeLessThanOrEqual(most.dump);
    expect(more.restore).toBeLessThanOrEqual(most.restore);
  },
  60_000,
);

/** The calls of wait4(2) in a dump and in a restore of so many processes, or of one with so many threads. */
async function waits(what: string, count: number): Promise<{ dump: number; restore: number }> {
  using victim = await Victim.start('tree', what === 'thread' ? ['wide', '1', '1', `${count}`] : ['wide', `${count}`]);
  const file = join(victim.dir, 'counts');
  const dump = (await callCounts(victim.dumpLine(), file)).get('wait4') ?? 0;
  await victim.waitGone();
  const restore = (await callCounts(victim.restoreLine(), file)).get('wait4') ?? 0;
  await victim.verdict();
  return { dump, restore };
}
