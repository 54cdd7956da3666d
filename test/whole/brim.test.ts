/** Limits that are reached: what Stasis needs for a moment must not fail on them. */
import { expect, test } from 'bun:test';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

const FEW = ['prlimit', '--nofile=200:200'];

test('the highest descriptor that is allowed', async () => {
  using victim = await Victim.start('brim', ['files', 'hard']);
  await victim.dump();
  await victim.restore([], { wrapper: FEW });
  await victim.verdict();
}, 20_000);

test('all descriptors that are allowed are open: one more must be allowed', async () => {
  using victim = await Victim.start('brim', ['full', 'hard']);
  await victim.dump();
  const { status, stderr } = await stasis(victim.restoreLine(), { wrapper: FEW });
  expect(status).toBe(1);
  expect(stderr).toContain('201 descriptors are needed, and no more than 200 are allowed');
  await victim.restore([], { wrapper: ['prlimit', '--nofile=200:201'] });
  await victim.verdict();
}, 20_000);
