/** Trees in PID namespaces of their own: their processes keep the numbers they know, and get others here. */
import { describe, test } from 'bun:test';
import { goOn, Victim } from './kit/victim.ts';

const PIDS = { unshare: ['--pid'] } as const;

const VICTIMS: readonly (readonly string[])[] = [
  ['sessions'],
  ['threads'],
  ['signals'],
  ['epolls'],
  ['pipes'],
  ['prefork', '16', '6'],
  ['unixdgrams'],
];

describe('in a PID namespace of its own', () => {
  for (const [name = '', ...args] of VICTIMS) {
    test(`${[name, ...args].join(' ')}: cycles`, async () => {
      using victim = await Victim.start(name, args, PIDS);
      await goOn();
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.cycle({ dump: ['--file-locks', '--ext-unix-sk'], restore: ['--file-locks', '--ext-unix-sk'] });
        await goOn();
      }
      await victim.verdict();
    }, 30_000);
  }
});
