/** Sockets of several network namespaces in one tree: each is made again in the one it belongs to. */
import { describe, test } from 'bun:test';
import { goOn, Victim } from './kit/victim.ts';

const LIMIT = 60_000;
const CONNECTIONS = ['--tcp-established'];

describe('sockets of several network namespaces', () => {
  for (const where of ['outer', 'inner']) {
    test(
      `the root is in ${where === 'outer' ? 'that of the machine' : 'one of its own'}`,
      async () => {
        using victim = await Victim.start('netsockets', [where]);
        if (victim.skipped) return;
        await goOn();
        for (let cycle = 0; cycle < 3; cycle++) {
          await victim.cycle({ dump: CONNECTIONS, restore: CONNECTIONS });
          await goOn();
        }
        await victim.verdict();
      },
      LIMIT,
    );
  }
});
