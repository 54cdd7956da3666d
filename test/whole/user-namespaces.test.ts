/** Trees in user namespaces of their own: maps, users and groups, capabilities, owners of what is in them. */
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { victimBinary } from './kit/compile.ts';
import { goOn, type StartOptions, Victim } from './kit/victim.ts';

/** What tells of the user namespace of a process, as the machine sees it. */
function usersOf(pid: number): string {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
  const status = read('status').match(/^(Uid|Gid|Groups|Cap\w+):.*$/gm);
  return [...['uid_map', 'gid_map', 'projid_map', 'setgroups'].map(read), ...(status ?? [])].join('\n');
}

const usersOfAll = (victim: Victim): string[] => victim.members().map(usersOf);

const MAPPED: StartOptions = { startsApart: true };

describe('with two lines of maps, and all other namespaces', () => {
  test('cycles', () => cycles('userns', [], MAPPED), 60_000);

  test('left running, then dumped', async () => {
    using victim = await Victim.start('userns', [], MAPPED);
    await victim.dump(['--leave-running']);
    await goOn();
    await victim.cycle();
    await goOn();
    await victim.verdict({ limitMs: 20_000 });
  }, 60_000);
});

const ALL = ['--pid', '--mount-proc', '--uts', '--ipc', '--net'] as const;

const ROWS: readonly { readonly way: readonly string[]; readonly victims: readonly (readonly string[])[] }[] = [
  {
    way: ['--map-root-user', ...ALL],
    victims: [['sessions'], ['signals'], ['prefork', '8', '4'], ['unixdgrams'], ['heap'], ['timers']],
  },
  { way: ['--map-current-user', ...ALL], victims: [['unixdgrams'], ['timers']] },
  { way: ['--map-root-user', '--pid'], victims: [['signals'], ['prefork', '8', '4']] },
  { way: ['--map-user=1000', '--map-group=1000', '--pid'], victims: [['signals'], ['unixdgrams']] },
  { way: ['--user', '--pid'], victims: [['heap'], ['prefork', '8', '4']] },
  { way: ['--map-root-user', '--cgroup', '--net'], victims: [['heap']] },
  { way: ['--pid', '--mount-proc'], victims: [['threadfds']] },
  // In the PID namespace of the machine, where they may choose no numbers.
  { way: ['--map-root-user'], victims: [['prefork', '8', '4'], ['sessions'], ['threadfds'], ['timers']] },
];

describe('started by unshare(1)', () => {
  for (const { way, victims } of ROWS) {
    for (const [name = '', ...args] of victims) {
      test(`${way.join(' ')}: ${[name, ...args].join(' ')}`, () => cycles(name, args, { unshare: way }), 60_000);
    }
  }
});

/** Starts a victim in user namespaces inside of one another: its parent is in the outer one. */
const inside = (options: string, [name = '', ...args]: readonly string[]): readonly string[] => {
  return ['sh', '-c', `unshare ${options} "$@"; :`, 'sh', victimBinary(name), ...args];
};

describe('inside of others', () => {
  const rows: readonly (readonly [string, readonly string[], string, readonly string[]])[] = [
    [
      'with a PID namespace of the outer one',
      ['--map-root-user', '--pid'],
      '--map-user=7 --map-group=7',
      ['prefork', '4', '2'],
    ],
    ['with threads', ['--map-root-user', '--pid', '--mount-proc'], '--map-user=7', ['threadfds']],
    ['without maps', ['--map-current-user', '--pid', '--ipc', '--uts'], '--user --uts', ['unixdgrams']],
    ['three deep', ['--map-root-user', '--pid'], '--map-root-user sh -c \'unshare --map-user=8 "$@"; :\' sh', ['heap']],
  ];
  test.each(rows)(
    '%s',
    async (_, outer, inner, victim) => {
      using started = await Victim.run(inside(inner, victim), { unshare: outer });
      await throughCycles(started);
    },
    60_000,
  );
});

test('that mounts from outside are not locked any more is told', async () => {
  using victim = await Victim.start('heap', [], { unshare: ['--map-root-user', '--mount', '--pid'] });
  const { stderr } = await victim.dump();
  expect(stderr).toMatch(/others could not be unmounted inside of the user namespace; restored they can be/);
  await victim.restore();
  await victim.verdict();
}, 60_000);

async function cycles(name: string, args: readonly string[], start: StartOptions): Promise<void> {
  using victim = await Victim.start(name, args, start);
  await throughCycles(victim);
}

async function throughCycles(victim: Victim): Promise<void> {
  await goOn();
  const before = usersOfAll(victim);
  for (let cycle = 0; cycle < 3; cycle++) {
    await victim.dump(OPTIONS);
    await restored(victim);
    await goOn();
    expect(usersOfAll(victim)).toEqual(before);
  }
  await victim.verdict({ limitMs: 20_000 });
}

const OPTIONS = ['--file-locks', '--ext-unix-sk'] as const;

/** In the PID namespace of the machine somebody else may take a number just before the tree gets it. */
async function restored(victim: Victim): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await victim.restore(OPTIONS);
      return;
    } catch (error) {
      if (attempt === 5 || !/PID \d+: .* in use/.test(String(error))) throw error;
      // What it had made before is reaped by nobody else here.
      await victim.waitGone();
    }
  }
}
