/** Mutated requests: an answer to each, and nothing is left. `npm run fuzz:rpc` gives a hundred thousand of them. */
import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import { run } from './kit/stasis.ts';

test('3,000 mutated requests', async () => {
  const command = [process.execPath, join(HOUSE, 'test/whole/kit/rpc-fuzz.ts'), '3000'];
  const { status, stdout, stderr } = await run(command, { limitMs: 55_000 });
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const { granted, refused, grown } = JSON.parse(stdout);
  expect(granted + refused).toBeGreaterThan(2500);
  expect(refused).toBeGreaterThan(2000);
  expect(grown.descriptors).toBe(0);
  expect(grown.rss).toBeLessThan(128 << 20);
}, 60_000);
