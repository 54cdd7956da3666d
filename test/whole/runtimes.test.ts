/**
 * The same program under other runtimes: the bundle under Node, the source under Bun. What one has dumped the other
 * restores.
 */
import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import type { RunOptions } from './kit/stasis.ts';
import { stasis } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { Victim } from './kit/victim.ts';

const launcher = [join(HOUSE, 'bin/stasis')];
const node: RunOptions = { command: launcher, env: { STASIS_RUNTIME: 'node' } };
const source: RunOptions = { command: launcher };
const chosen: RunOptions = {};

const WAYS: readonly [string, RunOptions, RunOptions][] = [
  ['dumped and restored under Node', node, node],
  ['dumped under Node, restored by the executable', node, chosen],
  ['dumped by the executable, restored under Node', chosen, node],
  ['dumped and restored from source', source, source],
];

describe.if(existsSync(join(HOUSE, 'dist/stasis.mjs')))('runtimes', () => {
  for (const [name, dumping, restoring] of WAYS) {
    for (const victimName of ['sturdy', 'memory', 'files']) {
      test(`${victimName}: ${name}`, async () => {
        using victim = await Victim.start(victimName);
        const before = await victim.settled();
        await victim.dump([], dumping);
        await victim.restore([], restoring);
        const after = await victim.settled();
        expect(differences(before, after)).toEqual([]);
        await victim.verdict();
      }, 20_000);
    }
  }

  test('an error under Node is the same sentence', async () => {
    const here = await stasis(['dump', '-t', '4194000', '-D', '/nowhere']);
    const there = await stasis(['dump', '-t', '4194000', '-D', '/nowhere'], node);
    expect(there.stderr).toBe(here.stderr);
    expect(there.status).toBe(here.status);
  }, 20_000);
});
