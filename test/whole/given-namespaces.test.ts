/** Namespaces that somebody else makes: `--external net[…]` and `pid[…]` with `--inherit-fd`, and `--join-ns`. */
import { afterEach, expect, test } from 'bun:test';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { victimBinary } from './kit/compile.ts';
import { inNetwork } from './kit/netspace.ts';
import { ask } from './kit/rpc-client.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { descendants } from './kit/tree.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const LIMIT = 60_000;
const holders: ChildProcess[] = [];

afterEach(() => {
  for (const holder of holders.splice(0)) holder.kill('SIGKILL');
});

/** An init has to wait for the orphans that it gets. */
const REAPER = 'while :; do sleep 1000 & wait; done';

/** A process in namespaces of its own, which keeps them. */
async function holder(...types: readonly string[]): Promise<number> {
  const options = types.map((type) => `--${type}`);
  const child = spawn('unshare', [...options, '--fork', '--kill-child', 'bash', '-c', REAPER], { stdio: 'ignore' });
  holders.push(child);
  const inside = await until(
    () => descendants(child.pid ?? 0)[0]?.pid,
    5000,
    () => 'unshare(1) has no child',
  );
  await until(
    () => (readFileSync(`/proc/${inside}/comm`, 'utf8') === 'bash\n' ? true : undefined),
    5000,
    () => 'it has not begun',
  );
  return inside;
}

const linkOf = (pid: number, name: string): string => readlinkSync(`/proc/${pid}/ns/${name}`);
const inodeOf = (pid: number, name: string): string => /\d+/.exec(linkOf(pid, name))?.[0] ?? '';

/** Starts a victim in namespaces of a process. */
function startIn(pid: number, options: readonly string[], name: string, args: readonly string[] = []): Promise<Victim> {
  return Victim.start(name, args, { enter: ['-t', String(pid), ...options] });
}

/** Gives Stasis a descriptor for a namespace, under the number 7. */
function giving(pid: number, name: string): { wrapper: readonly string[] } {
  return { wrapper: ['sh', '-c', 'exec 7<"$0"; exec "$@"', `/proc/${pid}/ns/${name}`] };
}

const NET = 'extRootNetNS';
const PID = 'extRootPidNS';

test(
  'an external network namespace is left as it is, and another one may be given',
  async () => {
    const first = await holder('net');
    const script = 'ip link set lo up; ip link add v0 type veth peer name v1; ip addr add 10.7.7.1/24 dev v0';
    inNetwork(first, script);
    using victim = await startIn(first, ['--net'], 'tcpidle');
    const external = ['--external', `net[${inodeOf(first, 'net')}]:${NET}`];
    const given = ['--inherit-fd', `fd[7]:${NET}`];
    const options = ['--tcp-established'];
    for (const at of [first, await holder('net')]) {
      if (at !== first) inNetwork(at, script);
      await victim.dump([...external, ...options]);
      external[1] = `net[${inodeOf(at, 'net')}]:${NET}`;
      expect(readdirSync(victim.images).filter((file) => file.startsWith('netdev'))).toEqual([]);
      const missing = await stasis(victim.restoreLine(options));
      expect(missing.status).toBe(1);
      expect(missing.stderr).toContain(`net namespace ${NET}: it was left to the user`);
      await victim.restore([...given, ...options], giving(at, 'net'));
      expect(linkOf(victim.pid, 'net')).toBe(linkOf(at, 'net'));
      await goOn();
    }
    await victim.verdict();
    expect(inNetwork(first, 'nft list tables 2>/dev/null || true')).not.toContain('CRIU');
  },
  LIMIT,
);

test(
  'an external PID namespace, of which the root is not the init',
  async () => {
    const first = await holder('pid');
    using victim = await startIn(first, ['--pid'], 'prefork', ['4', '3']);
    const refused = await stasis(victim.dumpLine());
    expect(refused.stderr).toContain('not the init (PID 1)');
    expect(refused.stderr).toContain(`--external 'pid[${inodeOf(first, 'pid')}]:NAME'`);
    let at = first;
    for (const next of [first, await holder('pid')]) {
      await victim.dump(['--external', `pid[${inodeOf(at, 'pid')}]:${PID}`]);
      const missing = await stasis(victim.restoreLine());
      expect(missing.stderr).toContain(`pid namespace ${PID}: it was left to the user`);
      await victim.restore(['--inherit-fd', `fd[7]:${PID}`], giving(next, 'pid'));
      expect(linkOf(victim.pid, 'pid')).toBe(linkOf(next, 'pid'));
      at = next;
      await goOn();
    }
    await victim.verdict();
    expect(existsSync(`/proc/${at}`)).toBe(true);
  },
  LIMIT,
);

test(
  'a tree is restored into namespaces of another process',
  async () => {
    const at = await holder('net', 'ipc', 'uts', 'time');
    inNetwork(at, 'ip link set lo up');
    using victim = await Victim.start('prefork', ['4', '3']);
    await victim.dump();
    const types = ['net', 'ipc', 'uts', 'time'];
    await victim.restore(
      types.flatMap((type) => ['--join-ns', `${type}:${type === 'ipc' ? at : `/proc/${at}/ns/${type}`}`]),
    );
    for (const pid of victim.members()) {
      for (const type of types) expect(linkOf(pid, type)).toBe(linkOf(at, type));
    }
    await goOn();
    await victim.verdict();
  },
  LIMIT,
);

test(
  'a network namespace of its own is not made again where another one is joined',
  async () => {
    const at = await holder('net');
    inNetwork(at, 'ip link set lo up; ip link add stasisx0 type veth peer name stasisx1');
    const own = await holder('net');
    inNetwork(own, 'ip link set lo up');
    using victim = await startIn(own, ['--net'], 'tcpidle');
    await victim.dump(['--tcp-established']);
    await victim.restore(['--tcp-established', '--join-ns', `net:${at}`]);
    expect(linkOf(victim.pid, 'net')).toBe(linkOf(at, 'net'));
    expect(inNetwork(victim.pid, 'ip -br link')).toContain('stasisx0');
    await victim.verdict();
  },
  LIMIT,
);

test(
  'a tree is restored into a PID namespace and a mount namespace of another process',
  async () => {
    const at = await holder('pid', 'mount');
    using victim = await Victim.run([
      'sh',
      '-c',
      'echo text > text; exec "$@" 5< text',
      'sh',
      victimBinary('prefork'),
      '4',
      '3',
    ]);
    await victim.dump();
    const { cwd, dir } = victim;
    const there = `
      cp -a ${cwd} ${dir}/copy; mount -t tmpfs -o mode=755 other ${cwd}; cp -a ${dir}/copy/. ${cwd}; echo TEXT > ${cwd}/text`;
    expect(spawnSync('nsenter', ['-t', String(at), '-m', 'sh', '-ec', there]).status).toBe(0);
    // Its root has another number here afterwards.
    const restored = async (options: readonly string[]): Promise<void> => {
      const pidfile = `${victim.images}/pid`;
      const line = victim.restoreLine(['--pidfile', pidfile, '--join-ns', `mnt:${at}`, ...options]);
      await stasisOk(line, undefined, giving(at, 'pid'));
      victim.pid = Number(readFileSync(pidfile, 'utf8'));
    };
    await restored(['--join-ns', `pid:/proc/${at}/ns/pid`]);
    for (const pid of victim.members()) {
      for (const type of ['mnt', 'pid']) expect(linkOf(pid, type)).toBe(linkOf(at, type));
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(victim.cwd);
      expect(readFileSync(`/proc/${pid}/fd/5`, 'utf8')).toBe('TEXT\n');
    }
    await goOn();
    // Its mounts are not made again where others are given.
    const external = ['--external', `pid[${inodeOf(at, 'pid')}]:${PID}`];
    const mount = ['--external', `mnt[${victim.cwd}]:cwd`];
    await victim.dump([...external, ...mount]);
    await restored(['--inherit-fd', `fd[7]:${PID}`]);
    expect(linkOf(victim.pid, 'mnt')).toBe(linkOf(at, 'mnt'));
    await goOn();
    await victim.verdict();
  },
  LIMIT,
);

test('join_ns of the RPC: PID and mount namespaces', async () => {
  const at = await holder('pid', 'mount');
  using victim = await Victim.start('prefork', ['2', '2']);
  const folder = join(victim.dir, 'images-rpc');
  mkdirSync(folder);
  const images = openSync(folder, 'r');
  const opts = { images_dir_fd: images, log_level: 4 };
  const dumped = await ask({ type: CriuReqType.DUMP, opts: { ...opts, pid: victim.pid } });
  expect(dumped.answer).toMatchObject({ success: true });
  const wrong = [{ ns: 'pid', ns_file: '/proc/self/ns/mnt' }];
  const refused = await ask({ type: CriuReqType.RESTORE, opts: { ...opts, join_ns: wrong } });
  expect(refused.answer).toMatchObject({ success: false });
  expect(refused.answer.cr_errmsg).toContain('this is no pid namespace');
  const join_ns = [
    { ns: 'mnt', ns_file: String(at) },
    { ns: 'pid', ns_file: `/proc/${at}/ns/pid` },
  ];
  const { answer } = await ask({ type: CriuReqType.RESTORE, opts: { ...opts, join_ns } });
  closeSync(images);
  expect(answer).toMatchObject({ success: true });
  victim.pid = answer.restore?.pid ?? 0;
  for (const pid of victim.members()) {
    for (const type of ['mnt', 'pid']) expect(linkOf(pid, type)).toBe(linkOf(at, type));
  }
  await goOn();
  await victim.verdict();
}, 60_000);

test('--join-ns pid: of a tree whose root is PID 1', async () => {
  const at = await holder('pid');
  using victim = await Victim.start('heap', ['1'], { unshare: ['--pid', '--mount-proc'] });
  await victim.dump();
  const refused = await stasis(victim.restoreLine(['--join-ns', `pid:${at}`]));
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('the root of the tree has to be PID 1');
  await victim.restore(['--join-ns', `mnt:${process.pid}`]);
  expect(linkOf(victim.pid, 'mnt')).toBe(readlinkSync('/proc/self/ns/mnt'));
  await victim.verdict();
}, 60_000);

const WRONG: readonly (readonly [string, string, string])[] = [
  ['no such process', 'net:999999999', 'cannot be opened: ENOENT'],
  ['a file that is none', 'net:/dev/null', 'this is no net namespace'],
  ['one of another type', 'net:/proc/self/ns/uts', 'this is no net namespace'],
  ['a type that is not joined', 'user:1', 'cannot be joined yet'],
];

test.each(WRONG)('--join-ns: %s', async (_, target, reason) => {
  using victim = await Victim.start('heap', ['1']);
  await victim.dump();
  const refused = await stasis(victim.restoreLine(['--join-ns', target]));
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(reason);
  expect(victim.exists()).toBe(false);
});
