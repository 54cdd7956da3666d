/**
 * What stands in the way of a dump, as people and programs are told: before anything is touched, by name, with a
 * remedy.
 */
import { describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import { type Outcome, run, stasis, stasisCommand } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { Victim } from './kit/victim.ts';

const SERVER = join(HOUSE, 'test/programs/server.py');

interface Told {
  readonly code: string;
  readonly kind: string;
  readonly resource: string;
  readonly reason: string;
  readonly remedy?: string;
  readonly holders: readonly { readonly pid: number; readonly comm: string; readonly fds: readonly number[] }[];
  readonly object: Readonly<Record<string, unknown>>;
}

async function report(pid: number, options: readonly string[] = []): Promise<{ text: string; told: readonly Told[] }> {
  const { stdout: text } = await stasis(['check', '-t', `${pid}`, ...options]);
  const { stdout: json } = await stasis(['check', '--json', '-t', `${pid}`, ...options]);
  return { text, told: JSON.parse(json).obstacles };
}

const lines = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('  - '));

describe('a server', () => {
  async function server(): Promise<{ victim: Victim; ports: number[]; path: string }> {
    const path = `/tmp/stasis-test-${process.pid}-${performance.now()}`;
    const victim = await Victim.run(['python3', SERVER, '3', path]);
    const [, ...ports] = /READY (\d+) (\d+) (\d+) (\d+)/.exec(victim.output()) ?? [];
    return { victim, ports: ports.map(Number), path };
  }

  test('one line for each socket, however many tasks and descriptors have it', async () => {
    const { victim, ports } = await server();
    using _ = victim;
    const [tcp, , , connection] = ports;
    const before = await victim.settled();
    const { text, told } = await report(victim.pid);
    // Both ends of a connection, and whatever else is not carried; listeners are.
    expect(lines(text).length).toBe(told.length);
    expect(told.filter(({ code }) => code === 'SOCKET_TCP').length).toBe(2);
    expect(text).toContain(`TCP, 127.0.0.1:${connection} connected to 127.0.0.1:${tcp}, established`);
    const members = victim.members();
    const [first, second, third] = members;
    const end = told.find(({ object: { local } }) => JSON.stringify(local ?? null).includes(`:${tcp}}`));
    expect(end).toMatchObject({
      code: 'SOCKET_TCP',
      kind: 'unsupported',
      object: { type: 'socket', protocol: 'tcp', local: { family: 'inet', address: '127.0.0.1', port: tcp } },
    });
    expect(end?.holders.map(({ pid }) => pid).sort()).toEqual([...members].sort());
    expect(text).toMatch(new RegExp(`tasks ${first}, ${second}, ${third} and 1 more \\(python3\\): fd \\d+ \\(`));
    expect(differences(before, victim.state())).toEqual([]);
  }, 60_000);

  test('whose peer is a process of this machine', async () => {
    const { victim, ports } = await server();
    using _ = victim;
    const client = connect(ports[0] ?? 0, '127.0.0.1');
    await new Promise((resolve) => client.once('connect', resolve));
    try {
      using other = await Victim.run([
        ...['python3', '-c'],
        `import socket,time\ns=socket.create_connection(('127.0.0.1',${ports[0]}))\nprint('READY',flush=True)\ntime.sleep(1000)`,
      ]);
      const { text, told } = await report(other.pid);
      expect(lines(text).length).toBe(1);
      // It waits to be accepted, and is nobody's yet.
      expect(told[0]?.object.remote).toMatchObject({ address: '127.0.0.1', port: ports[0] });
      const own = await report(victim.pid);
      const ends = own.told.filter(({ object }) => object.state === 'established');
      expect(ends.length).toBe(2);
      for (const { object } of ends) expect(object.peer).toMatchObject({ pid: victim.pid, comm: 'python3' });
      expect(own.text).toMatch(new RegExp(`its peer is fd \\d+ of task ${victim.pid} \\(python3\\)`));
    } finally {
      client.destroy();
    }
  }, 60_000);

  test('a dump says the same, and harms nobody', async () => {
    const { victim } = await server();
    using _ = victim;
    const { told } = await report(victim.pid);
    const before = await victim.settled();
    const dump = await stasis([...victim.dumpLine(), '--json']);
    expect(dump.status).toBe(1);
    const { obstacles, code } = JSON.parse(dump.stderr) as { obstacles: readonly Told[]; code: string };
    expect(code).toBe('OBSTACLES');
    expect(obstacles).toEqual(told as Told[]);
    const text = (await stasis(victim.dumpLine())).stderr;
    expect(text).toContain(`has ${told.length} things that cannot be saved`);
    expect(lines(text).length).toBe(told.length);
    // In the log of the dump as well, each in a line of CRIU's shape.
    const log = readFileSync(join(victim.images, 'dump.log'), 'utf8');
    expect(log.match(/^\(\d+\.\d+\) Error \(dump\.ts\): tasks? .*socket:\[\d+\]/gm)?.length).toBe(told.length);
    expect(differences(before, victim.state())).toEqual([]);
  }, 60_000);
});

describe('namespaces that would belong to another user namespace', () => {
  /** The codes of what stands in the way of carrying a program; a dump says the same, and it goes on. */
  async function refused(command: readonly string[]): Promise<string[]> {
    using victim = await Victim.run(command);
    const before = await victim.settled();
    const { told } = await report(victim.pid);
    expect((await stasis(victim.dumpLine())).status).not.toBe(0);
    expect(differences(before, victim.state())).toEqual([]);
    return told.map(({ code }) => code);
  }

  test('one that the parent of those in it had made before it went further in', async () => {
    const inside = 'sleep 1000 & exec unshare --uts sh -c "echo READY; exec sleep 1000"';
    const script = 'unshare --map-root-user --uts unshare --map-root-user sh -c "$1"; :';
    expect(await refused(['sh', '-c', script, 'sh', inside])).toEqual(['NAMESPACE_USER_OWNER']);
  }, 60_000);

  test('that of an init which shares descriptors with its parent outside', async () => {
    const flags = 0x400 | 0x1000_0000 | 0x2000_0000; // CLONE_FILES, CLONE_NEWUSER, CLONE_NEWPID
    const script = `import ctypes, signal, time
if ctypes.CDLL(None).syscall(56, ${flags} | signal.SIGCHLD, 0, 0, 0, 0): print('READY', flush=True)
time.sleep(1000)`;
    expect(await refused(['python3', '-c', script])).toEqual(['NAMESPACE_USER_PIDS']);
  }, 60_000);
});

test('a namespace that is not carried is one line, however many tasks are in it', async () => {
  // The unshare(1) that has made the outer one stays in it, outside of the tree.
  using victim = await Victim.run(
    ['unshare', '--user', 'sh', '-c', 'sleep 1000 & sleep 1000 & echo READY; exec sleep 1000'],
    { unshare: ['--map-root-user'] },
  );
  const { text, told } = await report(victim.pid);
  expect(told.map(({ code }) => code)).toEqual(['NAMESPACE_USER_NESTED']);
  expect(lines(text).length).toBe(1);
  const [{ holders, object } = { holders: [], object: undefined }] = told;
  expect(holders.map(({ pid }) => pid).sort()).toEqual([...victim.members()].sort());
  expect(object).toMatchObject({ type: 'user namespace', inode: expect.any(Number) });
}, 60_000);

describe('nothing is lost when one look fails', () => {
  /**
   * A process in a PID namespace of its own that has a pidfd of one outside, which has no number there, and a socket
   * of family vsock; the outcome of a check within that namespace.
   */
  async function inside(): Promise<Outcome> {
    const victim =
      'import socket,time\ns=socket.socket(socket.AF_VSOCK,socket.SOCK_STREAM)\nopen("ready","w").close()\ntime.sleep(1000)';
    const check = `${stasisCommand().join(' ')} check --json -t $!`;
    const script = `rm -f ready; setsid python3 -c '${victim}' </dev/null >/dev/null 2>&1 & while [ ! -e ready ]; do sleep .01; done; ${check}; s=$?; kill -9 $!; exit $s`;
    const outer = [
      'import os,sys',
      'fd = os.pidfd_open(os.getpid())',
      'os.set_inheritable(fd, True)',
      'os.execvp("unshare", ["unshare", "-pf", "--mount-proc", "sh", "-c", sys.argv[1]])',
    ].join('\n');
    const cwd = join(HOUSE, 'test/.work', `inside-${process.pid}`);
    mkdirSync(cwd, { recursive: true });
    return run(['python3', '-c', outer, script], { cwd, limitMs: 40_000 });
  }

  test('a pidfd of a process without a number here does not hide the other obstacles of its task', async () => {
    const { stdout, stderr, status } = await inside();
    expect([status, stderr]).toEqual([1, expect.any(String)]);
    const { obstacles } = JSON.parse(stdout) as { obstacles: readonly Told[] };
    expect(obstacles.map(({ code }) => code).sort()).toEqual(['PIDFD_OUTSIDE', 'SOCKET_FAMILY']);
  }, 60_000);
});

describe('a tree that Stasis itself is in', () => {
  async function within(command: string): Promise<{ victim: Victim; said: string }> {
    const victim = await Victim.run(['sh', '-c', `sleep 1000 & ${command} >said 2>&1; echo READY $?; exec sleep 1000`]);
    return { victim, said: readFileSync(join(victim.cwd, 'said'), 'utf8') };
  }
  const command = (): string => stasisCommand().join(' ');

  test('is refused before it is touched, with a remedy', async () => {
    const { victim, said } = await within(`mkdir i; ${command()} dump -D i -t $$`);
    using _ = victim;
    expect(victim.output()).toContain('READY 1');
    expect(said).toMatch(new RegExp(`task ${victim.pid} \\(sh\\)`));
    expect(said).toMatch(/Stasis itself \(process \d+\) is in this tree/);
    expect(said).toMatch(/Hint: .*another (terminal|session)/);
    expect(existsSync(join(victim.cwd, 'i/inventory.img'))).toBe(false);
    // With Stasis outside nothing is in the way.
    await victim.cycle();
  }, 60_000);

  test('check says the same', async () => {
    const { victim, said } = await within(`${command()} check --json -t $$`);
    using _ = victim;
    expect(victim.output()).toContain('READY 1');
    const { dumpable, obstacles } = JSON.parse(said) as { dumpable: boolean; obstacles: readonly Told[] };
    expect(dumpable).toBe(false);
    expect(obstacles.map(({ code }) => code)).toEqual(['TREE_HAS_STASIS']);
  }, 60_000);
});

describe('a Stasis without CAP_KILL and a task of another user', () => {
  const weak = ['setpriv', '--bounding-set=-kill', '--inh-caps=-kill'];
  const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

  test('the dump ends, and the task with it', async () => {
    using victim = await Victim.run([...nobody, 'sh', '-c', 'echo READY; exec sleep 1000']);
    const { status, stderr } = await stasis(victim.dumpLine(), { wrapper: weak, limitMs: 20_000 });
    expect([status, stderr]).toEqual([0, '']);
    await victim.waitGone();
    await victim.restore();
  }, 60_000);

  test('that it could not be stopped is told', async () => {
    using victim = await Victim.run([...nobody, 'sh', '-c', 'echo READY; exec sleep 1000']);
    const { status, stderr } = await stasis(victim.dumpLine(['--leave-stopped']), { wrapper: weak, limitMs: 20_000 });
    expect(status).toBe(0);
    expect(stderr).toContain(`Warning: task ${victim.pid}: it runs on: Stasis may not stop it`);
    expect(victim.alive()).toBe(true);
  }, 60_000);
});
