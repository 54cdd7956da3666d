/**
 * `check`: the kernel's features by name, and the preflight of a process. Nothing may come to harm, and nothing may
 * stay.
 */
import { afterAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { run, stasis } from './kit/stasis.ts';
import { differences } from './kit/state.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const GOOD = 'Looks good.\n';
const PARTIAL =
  'Looks good but some kernel features are missing\nwhich, depending on your process tree, may cause\ndump or restore failure.\n';

/** A criu to compare with, if there is one: every answer must be the same. */
const CRIU = process.env.STASIS_CRIU;

interface Told {
  readonly name: string;
  readonly category: string;
  readonly supported: boolean;
  readonly neededFor: string;
  readonly reason?: string;
  readonly remedy?: string;
}

/** What a probe might leave behind, but for processes: mounts, network devices, files. */
function traces(): readonly string[] {
  return [
    ...readFileSync('/proc/self/mountinfo', 'utf8').split('\n'),
    ...readdirSync('/sys/class/net'),
    ...readdirSync('/tmp').filter((name) => name.includes('check')),
  ];
}

const login = (): string => readFileSync('/proc/self/loginuid', 'utf8');

/** How many throw-away processes there are. Those of a restore that runs elsewhere are gone in a moment. */
function seeds(): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('stasis-seed');
    } catch {
      return false;
    }
  }).length;
}

// Devices of namespaces that other tests have left go when the kernel comes to it, so what goes is no trace.
const before = new Set(traces());
const loginBefore = login();
afterAll(async () => {
  expect(traces().filter((trace) => !before.has(trace))).toEqual([]);
  expect(login()).toBe(loginBefore);
  await until(
    () => seeds() === 0 || undefined,
    3000,
    () => 'a throw-away process is still there',
  );
});

describe('the kernel', () => {
  test('plain: what is missing, and the last line CRIU says', async () => {
    const { status, stdout, stderr } = await stasis(['check']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.endsWith(GOOD)).toBe(true);
    for (const block of stdout
      .slice(0, -GOOD.length)
      .split(/^(?=Missing: )/m)
      .filter(Boolean)) {
      expect(block).toMatch(/^Missing: \S+( \(\w+\))?\n {2}needed for .+\n {2}found: .+\n {2}comes with: .+\n$/);
    }
  });

  test('--all: what is missing counts', async () => {
    const told = JSON.parse((await stasis(['check', '--json'])).stdout) as { features: Told[]; verdict: string };
    expect(told.verdict).toBe('good');
    const lacks = told.features.some((one) => !one.supported && /extra|experimental/.test(one.category));
    const { status, stdout } = await stasis(['check', '--all', '-v0']);
    expect({ status, stdout }).toEqual(lacks ? { status: 1, stdout: PARTIAL } : { status: 0, stdout: GOOD });
  });

  test('each feature by its name', async () => {
    const list = await stasis(['check', '--feature', 'list']);
    const names = list.stdout.split(/,?\s+/).filter(Boolean);
    expect(names).toHaveLength(45);
    for (const name of names) {
      const told = JSON.parse((await stasis(['check', '--json', '--feature', name])).stdout) as Told;
      const { status, stdout, stderr } = await stasis(['check', '--feature', name]);
      expect(told.name).toBe(name);
      expect(stdout).toBe(told.supported ? `${name} is supported\n` : '');
      expect(status).toBe(told.supported ? 0 : 1);
      if (!told.supported) expect(stderr).toContain(`${name} is not supported\n  needed for ${told.neededFor}\n`);
      if (CRIU) {
        const theirs = await run([CRIU, 'check', '--feature', name]);
        expect(`${name} ${theirs.status}\n${theirs.stdout}`).toBe(`${name} ${status}\n${stdout}`);
      }
    }
  }, 180_000);

  test('as ZDTM asks', async () => {
    const { status, stderr } = await stasis(['check', '--no-default-config', '-verbosity=0', '--feature', 'userns']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  test('a name that is none, and several names', async () => {
    const unknown = await stasis(['check', '--feature', 'timns']);
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toBe('Error: Unknown feature timns\nHint: did you mean timens?\n');
    const several = await stasis(['check', '--feature', 'external_net_ns', '--feature', 'userns']);
    expect([several.status, several.stdout]).toEqual([0, 'userns is supported\n']);
    expect((await stasis(['check', '--feature', 'timns', '--feature', 'userns'])).status).toBe(1);
  });

  test('without network and PIDs of its own it finds the same', async () => {
    const features = async (wrapper: string[]): Promise<string[]> => {
      const { stdout } = await stasis(['check', '--json'], { wrapper });
      return (JSON.parse(stdout) as { features: Told[] }).features.filter((f) => f.supported).map((f) => f.name);
    };
    expect(await features(['unshare', '-npf', '--mount-proc'])).toEqual(await features([]));
  });
});

describe('a process', () => {
  test('that can be dumped is told so, and not touched', async () => {
    using victim = await Victim.run(['sleep', '1000'], { silent: true });
    const state = await victim.settled();
    const { status, stdout } = await stasis(['check', '-t', `${victim.pid}`]);
    expect([status, stdout]).toEqual([0, `Task ${victim.pid} (sleep) can be dumped.\n`]);
    const { stdout: json } = await stasis(['check', '--json', '-t', `${victim.pid}`]);
    expect(JSON.parse(json)).toEqual({ pid: victim.pid, comm: 'sleep', dumpable: true, obstacles: [], notices: [] });
    expect(differences(state, victim.state())).toEqual([]);
  });

  test('with obstacles: each is told, with its remedy', async () => {
    const ours = `${process.pid}`;
    using server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => {} } });
    const { port } = server;
    const connection = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data: () => {} } });
    const { status, stdout } = await stasis(['check', '-t', ours]);
    expect(status).toBe(1);
    // The one who asks is a child of ours, and does not count.
    const head = `Task ${ours} \\(\\w+\\) cannot be dumped:`;
    // Our own output may be a pipe that somebody else reads.
    const notices = '(Warning: .+\n(Hint: .+\n)?)*';
    expect(stdout).toMatch(new RegExp(`^${head}\n( {2}- .+\n( {4}Hint: .+\n)?)+${notices}$`));
    expect(stdout).toMatch(/ {2}- fds? \d+.* \(socket:\[\d+\], TCP, 127\.0\.0\.1:\d+ connected to 127\.0\.0\.1:\d+/);
    const told = JSON.parse((await stasis(['check', '--json', '-t', ours])).stdout);
    expect(told).toMatchObject({ pid: process.pid, dumpable: false });
    expect(told.obstacles.length).toBe(stdout.match(/^ {2}- /gm)?.length);
    for (const obstacle of told.obstacles)
      expect(obstacle).toMatchObject({
        code: expect.any(String),
        kind: expect.any(String),
        reason: expect.any(String),
      });
    connection.end();
  });

  test('an option lifts an obstacle', async () => {
    // Not the leader of its session.
    using victim = await Victim.run(['sh', '-c', 'sleep 1000; :'], { silent: true });
    const child = await childOf(victim.pid);
    const plain = await stasis(['check', '-t', `${child}`]);
    expect(plain.status).toBe(1);
    expect(plain.stdout).toContain('--shell-job');
    expect((await stasis(['check', '-t', `${child}`, '--shell-job'])).status).toBe(0);
    process.kill(child, 'SIGKILL');
  });

  test('that does not exist, is a thread, or is a kernel thread', async () => {
    const nobody = await stasis(['check', '-t', '4194303']);
    expect([nobody.status, nobody.stderr]).toEqual([1, 'Error: task 4194303: there is no such process\n']);
    const tid = readdirSync('/proc/self/task').find((name) => name !== `${process.pid}`);
    const thread = await stasis(['check', '-t', `${tid}`]);
    expect(thread.status).toBe(1);
    const words = `Error: task ${tid} \\(.+\\): this is a thread of process ${process.pid}\nHint: name the process: -t ${process.pid}\n`;
    expect(thread.stderr).toMatch(new RegExp(`^${words}$`));
    const both = await stasis(['check', '-t', `${process.pid}`, '--feature', 'tun']);
    expect([both.status, both.stdout]).toEqual([1, '']);
  });
});

function childOf(pid: number): Promise<number> {
  return until(
    () => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()) || undefined,
    5000,
    () => `process ${pid} has no child`,
  );
}
