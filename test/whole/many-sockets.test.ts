/** Very many descriptors, and connections with traffic on all of them. */
import { expect, test } from 'bun:test';
import { goOn, Victim } from './kit/victim.ts';

const CARRY = ['--tcp-established'] as const;
/** As many as a busy server has; fewer for a quick look. */
const CONNECTIONS = Number(process.env.STASIS_CONNECTIONS ?? 1000);
/** For each dump and restore, too: a machine that does much else may need it. */
const SLOW = { limitMs: 100_000 } as const;

test.each(['both ends in the tree', 'the other ends outside of it'])(
  `${CONNECTIONS} connections with traffic on all of them: %s`,
  async (where) => {
    const outside = where.includes('outside') ? ['outside'] : [];
    using victim = await Victim.start('tcpbusy', [String(CONNECTIONS), ...outside], SLOW);
    await goOn();
    await victim.dump(['--leave-running', ...CARRY], SLOW);
    await goOn();
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.dump(CARRY, SLOW);
      await victim.restore(CARRY, SLOW);
      await goOn();
    }
    expect(victim.output()).not.toContain('FAIL');
    await victim.verdict(SLOW);
  },
  400_000,
);

test('10,000 descriptors of ten kinds', async () => {
  using victim = await Victim.start('manyfds', ['10000'], SLOW);
  await victim.dump(['--leave-running'], SLOW);
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.dump([], SLOW);
    await victim.restore([], SLOW);
  }
  await victim.verdict(SLOW);
}, 400_000);
