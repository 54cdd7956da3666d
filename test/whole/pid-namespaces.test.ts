/** Trees in PID namespaces of their own: their processes keep the numbers they know, and get others here. */
import { describe, expect, test } from 'bun:test';
import { readFileSync, readlinkSync } from 'node:fs';
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
    }, 60_000);
  }
});

/** Programs of the machine, as people start them by hand. */
describe('the PID namespace of unshare(1)', () => {
  const commands: readonly (readonly [string, readonly string[]])[] = [
    ['for its next child', ['unshare', '--pid', 'sleep', '1000']],
    ['with its child in it', ['unshare', '--pid', '--fork', 'sleep', '1000']],
    [
      'with IPC and network namespaces, too',
      ['unshare', '--pid', '--ipc', '--net', '--fork', 'sh', '-c', 'sleep 1000; true'],
    ],
    ['with two, one in the other', ['unshare', '--pid', '--fork', 'unshare', '--pid', '--fork', 'sleep', '1000']],
  ];
  test.each(commands)('%s', async (_, command) => {
    using victim = await Victim.run(command, { silent: true });
    await goOn(300);
    const before = victim.members().map(levels);
    for (let cycle = 0; cycle < 3; cycle++) {
      await victim.cycle();
      expect(victim.members().map(levels)).toEqual(before);
    }
  });

  test('a /proc of it that the process outside has mounted', async () => {
    using victim = await Victim.run(['unshare', '--pid', '--fork', '--mount-proc', 'sleep', '1000'], { silent: true });
    await goOn(300);
    const outcome = await stasis(victim.dumpLine());
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain('it shows another PID namespace');
    expect(victim.alive()).toBe(true);
  });
});

/** The numbers of a process, and where its next child will have some. */
function levels(pid: number): string {
  const numbers = /^NSpid:.*$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[0] ?? '';
  const isElsewhere = linkOf(pid, 'pid_for_children') !== linkOf(pid, 'pid');
  return `${numbers} ${isElsewhere}`;
}

function linkOf(pid: number, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/${name}`);
  } catch {
    return 'none'; // it has no init yet
  }
}

describe('refused before the freeze', () => {
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
