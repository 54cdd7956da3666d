/** Much memory, which is copied by two hands at once: every word of it must come back, time after time. */
import { expect, test } from 'bun:test';
import { Victim } from './kit/victim.ts';

const CYCLES = Number(process.env.STASIS_CYCLES ?? 6);
const MEBIBYTES = 256;

test(
  `${MEBIBYTES} MiB: ${CYCLES} cycles`,
  async () => {
    // It looks at every word once a turn, and says so.
    using victim = await Victim.start('eatmem', [String(MEBIBYTES), '10', '100000'], { silent: true });
    for (let cycle = 1; cycle <= CYCLES; cycle++) {
      const before = await seen(victim, 0);
      await victim.cycle();
      await seen(victim, before + 2);
    }
    expect(victim.output()).not.toContain('damaged');
  },
  60_000 + CYCLES * 5000,
);

/** The number of the latest turn, once it is at least `least`. */
async function seen(victim: Victim, least: number): Promise<number> {
  for (;;) {
    const last = Number(/(\d+)\n$/.exec(await victim.waitFor(/\d+\n$|damaged/, 20_000))?.[1] ?? Number.NaN);
    if (victim.output().includes('damaged')) throw new Error(victim.output().slice(-200));
    if (last >= Math.max(least, 1)) return last;
    await Bun.sleep(5);
  }
}
