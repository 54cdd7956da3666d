/** What processes inherit from their parents, and a restored one must not have from the wrong one. */
import { test } from 'bun:test';
import { helperBinary } from './kit/compile.ts';
import { Victim } from './kit/victim.ts';

test('what parents and children have set differently since the fork', async () => {
  using victim = await Victim.start('inheritance');
  await victim.cycle();
  await victim.cycle();
  await victim.verdict();
}, 30_000);

test('nothing is left of what Stasis has from whoever started it', async () => {
  using victim = await Victim.start('inheritance');
  await victim.dump();
  await victim.restore([], { wrapper: [helperBinary('odd')] });
  await victim.verdict();
}, 30_000);

test('the niceness of sessions', async () => {
  using victim = await Victim.start('autogroup');
  if (victim.skipped) return;
  await victim.cycle();
  await victim.cycle();
  await victim.verdict();
}, 30_000);
