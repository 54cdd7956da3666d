/** The network lock, from the side of the peer: nothing is lost, nothing is reset, no rule remains. */
import { describe, expect, test } from 'bun:test';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { NFT_TABLE_F } from '../../src/kernel/constants/nftables.ts';
import { free, HARM, moments, stasisKilled } from './kit/harm.ts';
import { stasis, stasisCommand } from './kit/stasis.ts';
import { tablesBy } from './kit/tables.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const CARRY = ['--tcp-established'] as const;

/** A program that gives back what it gets, on as many connections as it is made. */
function echo(address: string): string[] {
  const program = [
    'import selectors, socket',
    `s = socket.create_server(('${address}', 0), family=socket.${address.includes(':') ? 'AF_INET6' : 'AF_INET'})`,
    'all = selectors.DefaultSelector(); all.register(s, selectors.EVENT_READ)',
    "print('READY', s.getsockname()[1], flush=True)",
    'while True:',
    '  for key, _ in all.select():',
    '    if key.fileobj is s: all.register(s.accept()[0], selectors.EVENT_READ); continue',
    '    data = key.fileobj.recv(65536)',
    '    if data: key.fileobj.sendall(data)',
    '    else: all.unregister(key.fileobj); key.fileobj.close()',
  ];
  return ['python3', '-c', program.join('\n')];
}

/** The other end of a connection: what it sends has to come back. */
class Peer implements Disposable {
  readonly socket: Socket;
  got = '';
  failed: Error | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.got += bytes.toString('latin1');
    });
    socket.on('error', (error) => {
      this.failed = error;
    });
    socket.on('close', () => {
      this.failed ??= new Error('closed');
    });
  }

  static async of(port: number, host: string, localAddress?: string): Promise<Peer> {
    const socket = connect({ port, host, ...(localAddress === undefined ? {} : { localAddress }) });
    await once(socket, 'connect');
    return new Peer(socket);
  }

  /** Sends a text and waits until it is back. */
  async asks(text: string): Promise<void> {
    this.socket.write(text);
    await this.hears(text);
  }

  async hears(text: string): Promise<void> {
    await until(
      () => (this.failed || this.got.endsWith(text) ? true : undefined),
      20_000,
      () => `got ${this.got.slice(-50)}`,
    );
    expect(this.failed).toBeUndefined();
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

const portOf = (victim: Victim): number => Number(/READY (\d+)/.exec(victim.output())?.[1]);

/** What the packet filters have about a victim's connections: tables of its dump, and rules for its port. */
function rulesOf(victim: Victim): string {
  const { stdout: tables } = spawnSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });
  const port = portOf(victim);
  return tables
    .split('\n')
    .filter((line) => line.includes(`. ${port}`) || line.includes(`port ${port}`))
    .join('\n');
}

/** The name of the table that locks a victim's connections. */
function tableOf(victim: Victim): string {
  const { stdout } = spawnSync('nft', ['list', 'ruleset'], { encoding: 'utf8' });
  const tables = stdout.split(/^table inet /m).slice(1);
  return tables.find((table) => table.includes(` . ${portOf(victim)}`))?.split(' ')[0] ?? 'none';
}

const METHODS = ['nftables', 'iptables'] as const;
const HOSTS = ['127.0.0.1', '::1'] as const;

describe.each(METHODS)('--network-lock %s', (method) => {
  test.each(HOSTS)(
    'a peer at %s waits until the tree is back',
    async (host) => {
      using victim = await Victim.run(echo(host));
      using peer = await Peer.of(portOf(victim), host);
      await peer.asks('before');
      await victim.dump([...CARRY, '--network-lock', method]);
      expect(rulesOf(victim)).not.toBe('');
      peer.socket.write('meanwhile');
      await sleep(300);
      expect([peer.got, peer.failed]).toEqual(['before', undefined]);
      // A restore that fails leaves the lock.
      expect((await stasis([...victim.restoreLine(CARRY), '--pidfile', '/nowhere/pid'])).status).toBe(1);
      await sleep(300);
      expect([peer.got, peer.failed]).toEqual(['before', undefined]);
      await victim.restore(CARRY);
      await peer.hears('meanwhile');
      await peer.asks('after');
      expect(rulesOf(victim)).toBe('');
    },
    60_000,
  );

  test('a tree that runs on is unlocked', async () => {
    using victim = await Victim.run(echo('127.0.0.1'));
    using peer = await Peer.of(portOf(victim), '127.0.0.1');
    await victim.dump([...CARRY, '--leave-running', '--network-lock', method]);
    expect(rulesOf(victim)).toBe('');
    await peer.asks('at once');
  }, 30_000);
});

test('the address may come at the point pre-restore: its peer is not answered before', async () => {
  const address = '198.18.80.1';
  const ip = (verb: string): void => {
    expect(spawnSync('ip', ['address', verb, `${address}/32`, 'dev', 'lo']).status).toBe(0);
  };
  ip('add');
  try {
    using victim = await Victim.run(echo(address));
    using peer = await Peer.of(portOf(victim), address, '127.0.0.1');
    await peer.asks('before');
    await victim.dump(CARRY);
    peer.socket.write('meanwhile');
    // As on another machine: neither the lock of the dump nor the address is there.
    ip('del');
    expect(spawnSync('nft', ['delete', 'table', 'inet', tableOf(victim)]).status).toBe(0);
    const script = join(victim.dir, 'script');
    // Long enough for the peer to send again what has not been answered.
    const lines = [
      '#!/bin/sh',
      'test "$CRTOOLS_SCRIPT_ACTION" != pre-restore && exit 0',
      `ip address add ${address}/32 dev lo && sleep 4`,
    ];
    writeFileSync(script, `${lines.join('\n')}\n`, { mode: 0o755 });
    await victim.restore([...CARRY, '--action-script', script]);
    await peer.hears('meanwhile');
    await peer.asks('after');
    expect(rulesOf(victim)).toBe('');
  } finally {
    spawnSync('ip', ['address', 'del', `${address}/32`, 'dev', 'lo']);
  }
}, 60_000);

test('another server of the machine feels nothing', async () => {
  using victim = await Victim.run(echo('127.0.0.1'));
  using other = await Victim.run(echo('127.0.0.1'));
  using peer = await Peer.of(portOf(victim), '127.0.0.1');
  using another = await Peer.of(portOf(other), '127.0.0.1');
  await peer.asks('one');
  await victim.dump(CARRY);
  await another.asks('two');
  await victim.restore(CARRY);
  await peer.asks('three');
}, 30_000);

test(
  'a dump that is killed leaves nothing locked, and the next one removes its table',
  async () => {
    using victim = await Victim.run(echo('127.0.0.1'));
    using peer = await Peer.of(portOf(victim), '127.0.0.1');
    const began = performance.now();
    await victim.dump([...CARRY, '--leave-running']);
    const span = performance.now() - began;
    for (const [turn, moment] of moments(Math.ceil(HARM / 4), span * 0.8).entries()) {
      await stasisKilled(victim.dumpLine(CARRY), moment);
      if (victim.alive()) await free(victim.pid);
      // The kernel may be about to kill it.
      await sleep(100);
      if (!victim.alive()) {
        await victim.waitGone();
        await victim.restore(CARRY);
      }
      await peer.asks(`turn ${turn}`);
    }
    await victim.dump(CARRY);
    await victim.restore(CARRY);
    await peer.asks('end');
    expect(rulesOf(victim)).toBe('');
  },
  60_000 + HARM * 1000,
);

test('what a killed dump has left is removed although nobody has waited for it', async () => {
  using victim = await Victim.run(echo('127.0.0.1'));
  using peer = await Peer.of(portOf(victim), '127.0.0.1');
  // A parent that never waits for its child. The dump is held where its lasting table is there and sees no packets.
  const hold = 'test "$CRTOOLS_SCRIPT_ACTION" != post-dump || exec sleep 2';
  const line = [...stasisCommand(), ...victim.dumpLine([...CARRY, '--action-script', hold])];
  const program = 'import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()';
  const parent = spawn('python3', ['-c', program, ...line], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const [pid] = (await once(parent.stdout, 'data')).map(Number);
    const tables = () => tablesBy(new Set([pid ?? 0])).filter(({ flags }) => flags & NFT_TABLE_F.DORMANT);
    await until(
      () => (tables().length > 0 ? true : undefined),
      20_000,
      () => 'the dump has made no table',
    );
    process.kill(pid ?? 0, 'SIGKILL');
    await free(victim.pid);
    expect(tables()).toHaveLength(1);
    await victim.dump([...CARRY, '--leave-running']);
    expect(tables()).toEqual([]);
    await peer.asks('at once');
  } finally {
    parent.kill();
  }
}, 30_000);

test('what a lock needs is asked before the freeze', async () => {
  using victim = await Victim.run(echo('127.0.0.1'));
  using peer = await Peer.of(portOf(victim), '127.0.0.1');
  await peer.asks('here');
  const wrapper = ['setpriv', '--bounding-set', '-net_admin'];
  const { status, stderr } = await stasis([...victim.dumpLine(CARRY), '--json'], { wrapper });
  expect(status).toBe(1);
  const error = JSON.parse(stderr);
  expect(error.code === 'OBSTACLES' ? error.obstacles[0] : error).toMatchObject({ code: 'NETWORK_LOCK' });
  expect(stderr).toContain('CAP_NET_ADMIN');
  await peer.asks('still here');
  // The option that helps.
  expect((await stasis([...victim.dumpLine(['--tcp-close']), '-R'], { wrapper })).status).toBe(0);
  await peer.asks('and still here');
}, 30_000);
