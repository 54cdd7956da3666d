/** Live migration between two hosts: nothing is lost, and whatever fails leaves exactly one tree that runs. */
import { expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Authority } from './kit/certificates.ts';
import { run, stasisCommand } from './kit/stasis.ts';
import { Client, type Host, migration, PLACES, SERVER, Service, TwoHosts } from './kit/two-hosts.ts';
import { sleep, until } from './kit/until.ts';

const MIB = 64;

/** A server with a client in the middle of its work. */
async function atWork(hosts: TwoHosts, percent = 5): Promise<{ readonly pid: number; readonly client: Client }> {
  const pid = await hosts.server(MIB, percent);
  const client = new Client(hosts);
  await client.goesOn();
  return { pid, client };
}

const runIn = ([file, args]: [string, string[]], limitMs = 60_000) => run([file, ...args], { limitMs });

/** Which of the hosts has the server, running. Waits until nothing of a migration is going on any more. */
async function whoRuns(hosts: TwoHosts): Promise<('a' | 'b')[]> {
  const isWorking = (host: Host): boolean => host.named('stasis').length > (host === hosts.b ? 1 : 0);
  await until(
    () => (isWorking(hosts.a) || isWorking(hosts.b) ? undefined : true),
    70_000,
    () => `Stasis is at work still: ${hosts.a.run('ps -ef')}${hosts.b.run('ps -ef')}`,
  );
  return (['a', 'b'] as const).filter((name) => {
    const host = hosts[name];
    return host.named('mover').some((pid) => !['T', 't'].includes(host.stateOf(pid) ?? ''));
  });
}

/** Nothing of Stasis is left on a host but what serves: no lock, no process that watches memory. */
function requireClean(host: Host): void {
  expect(host.run('nft list tables')).toBe('');
  expect(host.named('stasis-memory')).toEqual([]);
}

test('a server with a client in the middle moves; memory and connection are as they were', async () => {
  using hosts = await TwoHosts.start();
  // Those of migrations that were broken off are there for an hour, but not longer.
  const decisions = (): string[] => hosts.b.run('ls /run/stasis 2>/dev/null || true').split('\n');
  const old = `migration-${'0'.repeat(32)}`;
  hosts.b.run(`mkdir -p /run/stasis; touch -d '2 hours ago' /run/stasis/${old}`);
  // Older ones of other tests may go as well.
  const before = decisions().filter((name) => name !== old);
  using _ = await Service.start(hosts);
  const { pid, client } = await atWork(hosts);
  using __ = client;
  const outcome = await runIn(migration(hosts, pid));
  expect(outcome.stderr).toBe('');
  expect(outcome.stdout).toMatch(new RegExp(`succeeded: the tree runs there as process ${pid}\\n +total time is ~\\d`));
  expect(outcome.status).toBe(0);
  expect(await client.verdict()).toBe(`good ${MIB * 256}`);
  expect(await whoRuns(hosts)).toEqual(['b']);
  requireClean(hosts.a);
  requireClean(hosts.b);
  expect(decisions().filter((name) => !before.includes(name))).toEqual([]);
}, 120_000);

test('with certificates; --json', async () => {
  using authority = new Authority();
  using hosts = await TwoHosts.start();
  const there = authority.options(authority.issue('there', 'valid', `IP:${PLACES.b}`));
  using service = await Service.start(hosts, there);
  const { pid, client } = await atWork(hosts);
  using __ = client;
  using stranger = new Authority();
  const foreign = [...stranger.options(stranger.issue('nobody')), '--tls-cacert', authority.cacert];
  const refused = await runIn(migration(hosts, pid, ...foreign));
  expect(refused.status).toBe(1);
  expect(service.stderr).toMatch(/its certificate is of no authority that is trusted here/);
  await client.goesOn();
  const here = authority.options(authority.issue('here'));
  const outcome = await runIn(migration(hosts, pid, '--json', ...here));
  expect(outcome.stderr).toBe('');
  expect(JSON.parse(outcome.stdout)).toMatchObject({ command: 'migrate', pid, pidThere: pid });
  expect(await client.verdict()).toBe(`good ${MIB * 256}`);
  expect(await whoRuns(hosts)).toEqual(['b']);
}, 120_000);

/** What stands for sshd: each connection is the stdin and stdout of a command. */
const SERVE = `
import socket, subprocess, sys
s = socket.create_server(('${PLACES.b}', 7022))
while True:
    c, _ = s.accept()
    words = c.makefile('rb', 0).readline().decode().split()
    subprocess.Popen(sys.argv[1:] + words[1:], stdin=c, stdout=c)
    c.close()
`;

/** What stands for ssh: it passes on what comes, by two pipes. */
const CONNECT = `#!/bin/sh
shift
exec /usr/bin/python3 -c '
import os, socket, sys, threading
s = socket.create_connection(("${PLACES.b}", 7022))
s.sendall((" ".join(sys.argv[1:]) + "\\n").encode())
def pump(read, write, end):
    while True:
        data = read(65536)
        if not data: break
        write(data)
    end()
threading.Thread(target=pump, args=(lambda n: os.read(0, n), s.sendall, lambda: s.shutdown(1)), daemon=True).start()
pump(s.recv, lambda data: os.write(1, data), lambda: None)
' "$@"
`;

test('over ssh, or what stands for it', async () => {
  using hosts = await TwoHosts.start();
  const { pid, client } = await atWork(hosts);
  using __ = client;
  const dir = mkdtempSync(join(tmpdir(), 'stasis-ssh-'));
  const daemon = spawn(...hosts.b.words('/usr/bin/python3', '-c', SERVE, ...stasisCommand()), { stdio: 'ignore' });
  try {
    writeFileSync(join(dir, 'ssh'), CONNECT, { mode: 0o755 });
    await until(
      () => (hosts.b.run('ss -Hltn').includes(':7022') ? true : undefined),
      10_000,
      () => 'what stands for sshd does not listen',
    );
    const ssh = ['--ssh', 'host-b', '--ssh-command', join(dir, 'ssh')];
    const outcome = await runIn(migration(hosts, pid, ...ssh));
    expect(outcome.stderr).toBe('');
    expect(outcome.stdout).toMatch(/Migration succeeded/);
    expect(await client.verdict()).toBe(`good ${MIB * 256}`);
    expect(hosts.a.named('mover')).toEqual([]);
    const failed = await runIn(migration(hosts, 1, '--ssh', 'x', '--ssh-command', '/none'));
    expect(failed.status).toBe(1);
  } finally {
    daemon.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
}, 120_000);

test('what is in the way there is told before anything is done', async () => {
  using hosts = await TwoHosts.start();
  using _ = await Service.start(hosts);
  const { pid, client } = await atWork(hosts);
  using __ = client;
  hosts.b.run(
    `ip addr del ${SERVER.address}/32 dev lo; echo ${pid - 1} > /proc/sys/kernel/ns_last_pid; setsid sleep 1000 >/dev/null 2>&1 &`,
  );
  const outcome = await runIn(migration(hosts, pid));
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(new RegExp(`PID ${pid}: .*task ${pid} \\(sleep\\) has it`));
  expect(outcome.stderr).toMatch(/198\.18\.81\.1.*\(tcp\): the other machine cannot/);
  await client.goesOn();
  expect(await client.verdict()).toBe(`good ${MIB * 256}`);
  requireClean(hosts.a);
}, 120_000);

test('without a service, without TLS where it is needed', async () => {
  using hosts = await TwoHosts.start();
  const { pid, client } = await atWork(hosts);
  using __ = client;
  const nobody = await runIn(migration(hosts, pid));
  expect(nobody).toMatchObject({ status: 1, stderr: expect.stringMatching(/refused\nHint: start it there first/i) });
  const [file, args] = migration(hosts, pid);
  const open = await runIn([file, args.filter((word) => word !== '--insecure')]);
  expect(open).toMatchObject({ status: 1, stderr: expect.stringMatching(/without TLS.*\nHint: add --tls/) });
  await client.goesOn();
}, 120_000);

const CUTS = [0, 20, 60, 120, 200, 260, 320];

test.each(CUTS)(
  'the network is cut after %i ms: one of the two runs',
  async (ms) => {
    using hosts = await TwoHosts.start();
    using _ = await Service.start(hosts);
    const { pid, client } = await atWork(hosts);
    using __ = client;
    const migrating = runIn(migration(hosts, pid), 100_000);
    await sleep(100 + ms);
    const cut = `add table ip cut
    add chain ip cut in { type filter hook input priority 0; }
    add rule ip cut in tcp dport 7000 reject with tcp reset
    add rule ip cut in tcp sport 7000 reject with tcp reset`;
    hosts.b.run(`nft '${cut}'`);
    await sleep(1500);
    hosts.b.run('nft delete table ip cut');
    const outcome = await migrating;
    const running = await whoRuns(hosts);
    expect(running).toEqual(outcome.status === 0 ? ['b'] : ['a']);
    expect(await client.verdict()).toBe(`good ${MIB * 256}`);
    requireClean(hosts.a);
  },
  180_000,
);

/** Ends a process of a migration at a random moment; answers what Stasis says at the source. */
async function killOne(which: 'source' | 'target'): Promise<void> {
  using hosts = await TwoHosts.start();
  using _ = await Service.start(hosts);
  const { pid, client } = await atWork(hosts);
  using __ = client;
  const before = hosts.b.named('stasis');
  const migrating = runIn(migration(hosts, pid), 100_000);
  await sleep(50 + Math.random() * 450);
  const victims =
    which === 'source' ? hosts.a.named('stasis') : hosts.b.named('stasis').filter((p) => !before.includes(p));
  const host = which === 'source' ? hosts.a : hosts.b;
  for (const victim of victims) host.run(`kill -KILL ${victim} 2>/dev/null || true`);
  const outcome = await migrating;
  const running = await whoRuns(hosts);
  // The source may be stopped, if it was killed in the moment of handing over: one tree runs, or that one can.
  const stopped = hosts.a.named('mover').filter((one) => hosts.a.stateOf(one) === 'T');
  if (running.length === 0) expect({ which, stopped: stopped.length }).toEqual({ which: 'source', stopped: 1 });
  else expect(running).toHaveLength(1);
  if (which === 'target') expect(running).toEqual(outcome.status === 0 ? ['b'] : ['a']);
  if (running.length === 0) hosts.a.run(`kill -CONT ${stopped[0]}`);
  expect(await client.verdict()).toBe(`good ${MIB * 256}`);
}

const ROUNDS = Number(process.env.STASIS_ROUNDS ?? 4);
for (const which of ['source', 'target'] as const) {
  test(`SIGKILL of the ${which} at random moments: one of the two runs`, async () => {
    for (let round = 0; round < ROUNDS; round++) await killOne(which);
  }, 600_000);
}

test('what is not built is refused by name', async () => {
  using hosts = await TwoHosts.start();
  const service = await runIn(hosts.a.words(...stasisCommand(), 'service', '--tls'));
  expect(service).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/--tls: is for a service that takes trees/),
  });
  for (const option of ['--lazy', '--with-files']) {
    const outcome = await runIn(migration(hosts, 1, option));
    expect(outcome).toMatchObject({ status: 1, stderr: expect.stringMatching(new RegExp(`${option}: not built yet`)) });
  }
}, 60_000);
