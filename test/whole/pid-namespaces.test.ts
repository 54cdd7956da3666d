/** Trees in PID namespaces of their own: their processes keep the numbers they know, and get others here. */
import { describe, expect, test } from 'bun:test';
import { stasis } from './kit/stasis.ts';
import { goOn, Victim } from './kit/victim.ts';

const PIDS = { unshare: ['--pid'] } as const;

const VICTIMS: readonly (readonly string[])[] = [
  ['sessions'],
  ['threads'],
  ['signals'],
  ['epolls'],
  ['pipes'],
  ['procfiles'],
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

describe('refused before the freeze', () => {
  const refused: readonly (readonly [string, readonly string[], string])[] = [
    [
      'a process whose children are to be in another PID namespace',
      ['unshare', '--pid', 'sleep', '1000'],
      'the children of the process',
    ],
    [
      'a process in another one than the root',
      ['unshare', '--pid', '--fork', 'sleep', '1000'],
      'in another PID namespace',
    ],
  ];
  test.each(refused)('%s', async (_, command, reason) => {
    using victim = await Victim.run(command, { silent: true });
    await goOn(300);
    const outcome = await stasis(victim.dumpLine());
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain(reason);
    expect(victim.alive()).toBe(true);
  });

  test('a tree without the init of its PID namespace', async () => {
    using victim = await Victim.start('prefork', ['4', '2'], PIDS);
    const [, child] = victim.members();
    const line = victim.dumpLine(['--shell-job']);
    line[line.indexOf('-t') + 1] = String(child);
    const outcome = await stasis(line);
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain('not the init (PID 1)');
    await victim.verdict();
  });
});
