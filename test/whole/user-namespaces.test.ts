/** Trees in user namespaces of their own: maps, users and groups, capabilities, owners of what is in them. */
import { describe, expect, test } from 'bun:test';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
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

test('a sandbox whose root is the directory of a process that has ended', async () => {
  using victim = await Victim.start('nowhere');
  const places = (): string[] => ['root', 'cwd'].map((at) => readlinkSync(`/proc/${victim.members().at(-1)}/${at}`));
  const before = places();
  expect(before[0]).toMatch(/^\/proc\/\d+\/fdinfo$/);
  for (let cycle = 0; cycle < 3; cycle++) {
    await victim.cycle();
    expect(places()).toEqual(before);
  }
  await victim.verdict();
}, 60_000);

/** The user namespaces that the namespaces of a process belong to, each with its owner, from the inside out. */
function ownersOf(pid: number): string[] {
  const script = `
import fcntl, os, struct, sys
ours = os.stat('/proc/self/ns/user').st_ino
for name in ('user', 'pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'):
  fd = os.open(f'/proc/${pid}/ns/{name}', os.O_RDONLY)
  chain = []
  while True:
    fd = fcntl.ioctl(fd, 0xb701)
    if os.fstat(fd).st_ino == ours: break
    user = bytearray(4)
    fcntl.ioctl(fd, 0xb704, user)
    chain.append(struct.unpack('I', user)[0])
  print(name, chain)`;
  return spawnSync('python3', ['-c', script], { encoding: 'utf8' }).stdout.split('\n');
}

describe('the outer one of two has no process in it any more', () => {
  const rows: readonly (readonly [string, readonly string[], StartOptions])[] = [
    ['many users', [], MAPPED],
    ['one user', ['one'], MAPPED],
    ['with the process outside that has started it', [], {}],
    ['one user, with the process outside', ['one'], {}],
  ];
  test.each(rows)(
    '%s',
    async (_, args, start) => {
      using victim = await Victim.start('deepusers', args, start);
      await goOn();
      const inside = (): number => victim.members().at(-1) ?? 0;
      const before = [...usersOfAll(victim), ...ownersOf(inside())];
      expect(before.join()).toMatch(/pid \[\d+\].*net \[\d+\]/);
      for (let cycle = 0; cycle < 3; cycle++) {
        await victim.dump();
        await restored(victim);
        await goOn();
        expect([...usersOfAll(victim), ...ownersOf(inside())]).toEqual(before);
      }
      await victim.verdict({ limitMs: 20_000 });
    },
    60_000,
  );
});

test('others make processes at the same time, and take its numbers', async () => {
  const storm = spawn('sh', ['-c', 'while :; do /bin/true; done'], { stdio: 'ignore' });
  try {
    using victim = await Victim.start('sandboxes', ['12']);
    for (let cycle = 0; cycle < 2; cycle++) {
      await victim.cycle();
      await goOn();
    }
    await victim.verdict({ limitMs: 20_000 });
  } finally {
    storm.kill('SIGKILL');
  }
}, 90_000);

/** Runs a script as root of the user namespace of a process, in its mount namespace. */
function inMounts(pid: number, script: string): string {
  const { stdout, stderr } = spawnSync('nsenter', ['-t', String(pid), '-U', '-m', 'sh', '-c', script], {
    encoding: 'utf8',
  });
  return `${stdout}${stderr}`;
}

test('mounts from outside are locked, and those made inside are not', async () => {
  using victim = await Victim.start('heap', [], { unshare: ['--map-root-user', '--mount', '--pid'] });
  const { cwd } = victim;
  inMounts(victim.pid, `mkdir ${cwd}/own && mount -t tmpfs own ${cwd}/own`);
  // Which of the mounts there can be unmounted, and whether the root can be remounted with other attributes.
  const tries = `
    cut -d ' ' -f 5 /proc/self/mountinfo | grep -v '^/$' | while read at; do
      umount -n "$at" 2> /dev/null && echo "$at can be unmounted" && mount -t tmpfs own "$at"
    done
    mount -n -o remount,bind,nodev,nosuid,ro /sys && echo changed`;
  const before = inMounts(victim.pid, tries);
  expect(before).toContain('own can be unmounted');
  expect(before).not.toContain('/sys can be unmounted');
  for (let cycle = 0; cycle < 2; cycle++) {
    const { stderr } = await victim.dump();
    expect(stderr).not.toContain('could not be unmounted');
    await victim.restore();
    expect(inMounts(victim.pid, tries)).toBe(before);
  }
  await victim.verdict();
}, 60_000);

test('an unlinked file on a read-only mount from outside', async () => {
  const inner = 'exec 3< ro/file; exec "$@"';
  const outer = `
    mkdir ro; echo text > ro/file; mount --bind ro ro; mount -o remount,bind,ro ro
    exec unshare --map-root-user --mount --fork sh -c '${inner}' sh "$@"`;
  using victim = await Victim.run(['sh', '-ec', outer, 'sh', victimBinary('heap')], { unshare: ['--mount'] });
  unlinkSync(join(victim.cwd, 'ro/file'));
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.cycle();
    const last = victim.members().at(-1) ?? 0;
    expect(readFileSync(`/proc/${last}/fd/3`, 'utf8')).toBe('text\n');
    expect(readlinkSync(`/proc/${last}/fd/3`)).toEndWith('/ro/file (deleted)');
    expect(inMounts(last, `mount -n -o remount,bind,rw ${victim.cwd}/ro && echo changed`)).not.toContain('changed');
  }
  await victim.verdict();
}, 60_000);

test('locked mounts in a namespace that begins without /proc', async () => {
  const script = 'umount -l /proc; unshare --user --mount --fork "$@"; :';
  using victim = await Victim.run(['sh', '-ec', script, 'sh', victimBinary('unixdgrams')], {
    unshare: ['--mount', '--pid', '--net'],
  });
  await victim.cycle();
  await victim.cycle();
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
