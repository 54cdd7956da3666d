/** The signal that a process gets when its parent ends (PR_SET_PDEATHSIG), where Stasis is the parent. */
import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Victim } from './kit/victim.ts';

test('a detached restore clears the parent death signals of the root, for Stasis ends at once, and says so', async () => {
  using victim = await Victim.start('parentdeath');
  await victim.dump();
  const { stderr } = await victim.restore();
  expect(stderr).toContain('whose end sends it no signal (parent death signal 15 is cleared)');
  expect(stderr).toContain('(parent death signal 10 is cleared)');
  expect(stderr).not.toContain('signal 12');
  await victim.verdict();
  expect(readFileSync(join(victim.cwd, 'signals'), 'utf8')).toBe('0 0\n');
}, 30_000);
