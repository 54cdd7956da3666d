/** Connections of TCP that nobody has accepted when their server is dumped. */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { free, HARM, moments, nothingLeft, occasions, stasisKilled, withFailure } from './kit/harm.ts';
import { outside } from './kit/netspace.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const CARRY = ['--tcp-established'] as const;

/**
 * A server that accepts nobody until it is asked. Then it reads from each, in order, until there is a `!` or the end,
 * answers with length and sum of that, and ends the connection. `more` is done before it listens, `after` afterwards.
 */
function server(count: number, { family = 'AF_INET', address = '127.0.0.1', more = '', after = '' } = {}): string[] {
  const program = [
    'import socket, sys, time, hashlib',
    `s = socket.socket(socket.${family}); address = '${address}'`,
    more,
    `s.bind((address, 0)); s.listen(${count + 5})`,
    after,
    "print('READY', s.getsockname()[1], flush=True)",
    'while not sys.stdin.read(): time.sleep(.01)',
    's.settimeout(20); ports = []; wrong = None',
    'try:',
    `  for i in range(${count}):`,
    "    c, peer = s.accept(); c.settimeout(20); ports.append(peer[1]); got = b''",
    '    assert c.getpeername()[:2] == peer[:2]',
    "    while not got.endswith(b'!'):",
    '      piece = c.recv(1 << 16)',
    '      if not piece: break',
    '      got += piece',
    "    c.sendall(b'%d %s' % (len(got), hashlib.sha1(got).hexdigest().encode())); c.close()",
    'except Exception as error: wrong = repr(error)',
    "print('PORTS', *ports, flush=True)",
    "print('FAIL: ' + wrong if wrong else 'PASS', flush=True)",
  ];
  return ['python3', '-c', program.join('\n')];
}

const portOf = (victim: Victim): number => Number(/READY (\d+)/.exec(victim.output())?.[1]);

/** A client in this process. */
class Client implements Disposable {
  port = 0;
  readonly #socket: Socket;
  readonly #sent = createHash('sha1');
  #length = 0;
  #ended = false;
  #got = '';
  #over: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#got += bytes.toString('latin1');
    });
    socket.on('end', () => {
      this.#over = 'end';
    });
    socket.on('error', (error) => {
      this.#over = String(error);
    });
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<Client> {
    const socket = connect({ port, host, allowHalfOpen: true });
    const client = new Client(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    client.port = socket.localPort ?? 0;
    return client;
  }

  /** What has become of the connection; undefined while it is there. */
  get over(): string | undefined {
    return this.#over;
  }

  say(bytes: Uint8Array): void {
    this.#sent.update(bytes);
    this.#length += bytes.length;
    this.#socket.write(bytes);
  }

  /** Closes its half. */
  end(): void {
    this.#ended = true;
    this.#socket.end();
  }

  /** Says the last byte and waits for the answer. */
  async finish(): Promise<void> {
    if (!this.#ended) this.say(Buffer.from('!'));
    await until(
      () => (this.#over === undefined ? undefined : true),
      // What it has sent meanwhile it sends again and again, at intervals that double.
      20_000,
      () => `the client of port ${this.port} has got ${JSON.stringify(this.#got)} and no end`,
    );
    expect({ over: this.#over, got: this.#got }).toEqual({
      over: 'end',
      got: `${this.#length} ${this.#sent.digest('hex')}`,
    });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

class Clients implements Disposable {
  readonly all: Client[] = [];

  /** Connects clients one after the other: with nothing, few, some and many bytes sent; each fifth closes its half. */
  async connect(count: number, port: number, host?: string): Promise<void> {
    const start = this.all.length;
    for (let i = start; i < start + count; i++) {
      const client = await Client.connect(port, host);
      this.all.push(client);
      const bytes = new Uint8Array([0, 6, 3000, 40_000][i % 4] ?? 0).fill(65 + (i % 26));
      if (bytes.length > 0) client.say(bytes);
      if (i % 5 === 4) client.end();
    }
    await goOn(50);
  }

  /** All talk to the server, which has accepted them in their order. */
  async finish(victim: Victim): Promise<void> {
    appendFileSync(join(victim.dir, 'ask'), 'ask\n');
    await Promise.all(this.all.map((client) => client.finish()));
    await victim.waitFor(/^PASS/m, 20_000);
    const [, ports = ''] = /^PORTS (.*)$/m.exec(victim.output()) ?? [];
    expect(ports.split(' ').map(Number)).toEqual(this.all.map(({ port }) => port));
  }

  [Symbol.dispose](): void {
    for (const client of this.all) client[Symbol.dispose]();
  }
}

const FAMILIES = [
  { name: 'IPv4', options: {}, host: '127.0.0.1' },
  { name: 'IPv6', options: { family: 'AF_INET6', address: '::1' }, host: '::1' },
  {
    name: 'mapped',
    options: { family: 'AF_INET6', address: '::', more: 's.setsockopt(41, 26, 0)' },
    host: '127.0.0.1',
  },
] as const;

describe('clients outside of the tree', () => {
  for (const { name, options, host } of FAMILIES) {
    for (const count of [1, 5, 64]) {
      test(`${name}: ${count} of them notice nothing`, async () => {
        using victim = await Victim.run(server(count, options));
        using clients = new Clients();
        await clients.connect(count, portOf(victim), host);
        await victim.dump(['--leave-running', ...CARRY]);
        await victim.cycle({ dump: CARRY, restore: CARRY });
        await victim.cycle({ dump: CARRY, restore: CARRY });
        await clients.finish(victim);
      }, 60_000);
    }
  }

  test('after twenty cycles', async () => {
    using victim = await Victim.run(server(8));
    using clients = new Clients();
    await clients.connect(4, portOf(victim));
    for (let i = 0; i < 20; i++) {
      await victim.cycle({ dump: CARRY, restore: CARRY });
      // Those that wait already are told more, and others come.
      clients.all[1]?.say(Buffer.from(`${i}`));
      if (i % 5 === 0) await clients.connect(1, portOf(victim));
    }
    await clients.finish(victim);
  }, 120_000);

  test('who send more than there is room for', async () => {
    using victim = await Victim.run(server(2));
    using clients = new Clients();
    await clients.connect(2, portOf(victim));
    for (const client of clients.all) client.say(new Uint8Array(2 << 20).fill(0x42));
    await goOn(100);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await clients.finish(victim);
  }, 30_000);
});

/** The listening sockets at a port of this machine, a line each. */
function listeningAt(port: number): string[] {
  const { stdout } = spawnSync('ss', ['-tlnH', `sport = :${port}`], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => line !== '');
}

/** How many connections wait at a port of this machine, as the listening sockets count them. */
function waitingAt(port: number): number {
  return listeningAt(port).reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1] ?? 0), 0);
}

/** Waits until so many connections wait at a port. */
function waiting(port: number, count: number): Promise<true> {
  return until(
    () => (waitingAt(port) === count ? true : undefined),
    3000,
    () => `${waitingAt(port)} connections wait, not ${count}`,
  );
}

describe('a dump does no harm', () => {
  test(
    'when Stasis is killed',
    async () => {
      using victim = await Victim.run(server(8));
      using clients = new Clients();
      const port = portOf(victim);
      await clients.connect(8, port);
      const line = (): string[] => victim.dumpLine(['--leave-running', ...CARRY]);
      await stasisOk(line());
      const { ms } = await stasisOk(line());
      for (const moment of moments(HARM, ms)) {
        await stasisKilled(line(), moment);
        await free(victim.pid);
        await waiting(port, 8);
      }
      await clients.finish(victim);
    },
    60_000 + HARM * 1000,
  );

  test(
    'when Stasis is killed as it ends the tree',
    async () => {
      using victim = await Victim.run(server(8));
      using clients = new Clients();
      await clients.connect(8, portOf(victim));
      await victim.dump(CARRY);
      const { ms } = await victim.restore(CARRY);
      for (const moment of moments(Math.ceil(HARM / 4), ms)) {
        await stasisKilled(victim.dumpLine(CARRY), moment);
        if (existsSync(join(victim.images, 'inventory.img'))) await goOn(100);
        if (victim.alive()) await free(victim.pid);
        if (victim.alive()) continue;
        await victim.waitGone();
        await victim.restore(CARRY);
      }
      await clients.finish(victim);
    },
    60_000 + HARM * 1000,
  );

  test('when it fails', async () => {
    using victim = await Victim.run(server(8));
    using clients = new Clients();
    await clients.connect(8, portOf(victim));
    const script = 'test "$CRTOOLS_SCRIPT_ACTION" != post-dump';
    await stasis(victim.dumpLine([...CARRY, '--action-script', script]));
    expect(victim.alive()).toBe(true);
    await waiting(portOf(victim), 8);
    const line = (): string[] => victim.dumpLine(['--leave-running', ...CARRY]);
    for (const occasion of await occasions(line(), 1, victim)) {
      await withFailure(victim, line(), occasion, 'ENOSPC');
      await free(victim.pid);
      await waiting(portOf(victim), 8);
    }
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await clients.finish(victim);
  }, 300_000);
});

test(
  'a restore that is killed or fails tells the clients nothing, and can be done again',
  async () => {
    using victim = await Victim.run(server(8));
    using clients = new Clients();
    await clients.connect(8, portOf(victim));
    await victim.dump(CARRY);
    const line = [...victim.restoreLine(CARRY), '--pidfile', '/nowhere/pid'];
    const { status, ms } = await stasis(line);
    expect(status).toBe(1);
    await nothingLeft(victim);
    for (const moment of moments(Math.ceil(HARM / 4), ms)) {
      await stasisKilled(line, moment);
      await victim.waitGone();
      // What has its descriptors takes a moment to end.
      await until(
        () => (listeningAt(portOf(victim)).length === 0 ? true : undefined),
        3000,
        () => 'the listening socket is still there',
      );
    }
    expect(clients.all.map(({ over }) => over)).toEqual(clients.all.map(() => undefined));
    await victim.restore(CARRY);
    await clients.finish(victim);
  },
  60_000 + HARM * 1000,
);

/** A program that has both ends of connections, of which one is not accepted until it is asked. */
function bothEnds(family: string, address: string): string[] {
  const program = [
    'import socket, sys, time, os',
    "os.system('ip link set lo up')",
    `s = socket.socket(socket.${family}); s.bind(('${address}', 0)); s.listen(16)`,
    'clients = []',
    'for i in range(12):',
    '  c = socket.create_connection(s.getsockname()[:2]); clients.append(c)',
    "  c.sendall(b'%02d' % i + b'x' * (i * 3000))",
    '  if i % 3 == 2: c.shutdown(socket.SHUT_WR)',
    "print('READY', flush=True)",
    'while not sys.stdin.read(): time.sleep(.01)',
    's.settimeout(20)',
    'try:',
    '  for i, c in enumerate(clients):',
    '    a, peer = s.accept(); a.settimeout(20); c.settimeout(20)',
    '    assert peer == c.getsockname(), (peer, c.getsockname())',
    "    want = b'%02d' % i + b'x' * (i * 3000)",
    "    if i % 3 != 2: c.sendall(b'more'); want += b'more'",
    "    got = b''",
    '    while len(got) < len(want): got += a.recv(len(want))',
    '    assert got == want, (i, len(got))',
    "    a.sendall(b'answer'); assert c.recv(6) == b'answer'",
    "    if i % 3 == 2: assert a.recv(1) == b''",
    "  print('PASS', flush=True)",
    "except Exception as error: print('FAIL:', i, repr(error), flush=True)",
  ];
  return ['python3', '-c', program.join('\n')];
}

describe('both ends in the tree', () => {
  for (const [family, address] of [
    ['AF_INET', '127.0.0.1'],
    ['AF_INET6', '::1'],
  ] as const) {
    for (const unshare of [undefined, ['--net']]) {
      test(`${family}${unshare ? ', in a network namespace of its own' : ''}`, async () => {
        using victim = await Victim.run(bothEnds(family, address), unshare ? { unshare } : {});
        await victim.dump(['--leave-running', ...CARRY]);
        await victim.cycle({ dump: CARRY, restore: CARRY });
        await victim.cycle({ dump: CARRY, restore: CARRY });
        await victim.verdict();
      }, 60_000);
    }
  }
});

test('addresses are rewritten', async () => {
  using victim = await Victim.run(bothEnds('AF_INET', '127.0.0.1'));
  await victim.dump(CARRY);
  await victim.restore([...CARRY, '--inet-addr-map', '127.0.0.1=127.0.0.7']);
  await victim.verdict();
}, 30_000);

test('timestamps of another machine that are behind are left out, which is told', async () => {
  using victim = await Victim.run(server(1));
  using clients = new Clients();
  await clients.connect(1, portOf(victim));
  await victim.dump(CARRY);
  const [image = ''] = readdirSync(victim.images).filter((name) => name.startsWith('tcp-stream'));
  const path = join(victim.images, image);
  const text = (await stasisOk(['crit', 'decode', '-i', path])).stdout;
  const ahead = text.replace(
    /("timestamp": ?)(\d+)/,
    (_, key, value) => `${key}${(Number(value) + 2 ** 30) % 2 ** 32}`,
  );
  expect(ahead).not.toBe(text);
  writeFileSync(`${path}.json`, ahead);
  await stasisOk(['crit', 'encode', '-i', `${path}.json`, '-o', path]);
  rmSync(join(victim.images, 'stasis-manifest.json'));
  const { stderr } = await victim.restore(CARRY);
  expect(stderr).toContain('it goes on without timestamps');
  await clients.finish(victim);
}, 30_000);

test('a client in another network namespace', async () => {
  const name = `sq${process.pid}`.slice(-12);
  using far = await Victim.run(['sh', '-c', 'echo READY; exec sleep 1000'], { unshare: ['--net'] });
  const clear = (): void => void spawnSync('ip', ['link', 'delete', name]);
  try {
    outside(`ip link add ${name} type veth peer name far netns ${far.pid}
      ip address add 10.199.0.1/30 dev ${name}; ip link set ${name} up
      nsenter -t ${far.pid} -n sh -c 'ip address add 10.199.0.2/30 dev far; ip link set far up'`);
    using victim = await Victim.run(server(6, { address: '10.199.0.1' }));
    const program = [
      'import socket, sys, time, hashlib',
      `all = [socket.create_connection(('10.199.0.1', ${portOf(victim)})) for _ in range(6)]`,
      "said = [b'from afar' * (i * 1000) for i in range(6)]",
      'for c, text in zip(all, said): c.settimeout(20); c.sendall(text)',
      "print('READY', flush=True)",
      'while not sys.stdin.read(): time.sleep(.01)',
      "for c in all: c.sendall(b'!')",
      'for c, text in zip(all, said):',
      "  got = b''",
      '  while piece := c.recv(999): got += piece',
      "  want = b'%d %s' % (len(text) + 1, hashlib.sha1(text + b'!').hexdigest().encode())",
      "  if got != want: print('FAIL:', got, want, flush=True)",
      "print('PASS', flush=True)",
    ];
    using client = await Victim.run(['python3', '-c', program.join('\n')], { enter: ['-t', String(far.pid), '--net'] });
    await goOn(100);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    const verdict = victim.verdict();
    await client.verdict();
    await verdict;
  } finally {
    clear();
  }
}, 30_000);

describe('listening sockets', () => {
  test('that share a port have their own connections', async () => {
    // Two of three are asked; each says whom it has accepted.
    const program = [
      'import socket, sys, time, select',
      'def listening(port):',
      '  s = socket.socket(); s.setsockopt(1, 15, 1); s.bind(("127.0.0.1", port)); s.listen(32); return s',
      'first = listening(0); port = first.getsockname()[1]; all = [first, listening(port), listening(port)]',
      'def unaccepted(s): return int.from_bytes(s.getsockopt(6, 11, 104)[24:28], "little")',
      "print('READY', port, flush=True)",
      'before = None',
      'while not sys.stdin.read():',
      '  time.sleep(.01)',
      "  if sum(map(unaccepted, all)) == 24 and before is None: before = [unaccepted(s) for s in all]; print('FULL', flush=True)",
      'now = [unaccepted(s) for s in all]',
      'ok = now == before and all[0].getsockopt(1, 15) == 1 and [s.getsockopt(1, 49) for s in all] == [-1] * 3',
      "print('PASS' if ok else 'FAIL: %r %r' % (before, now), flush=True)",
    ];
    using victim = await Victim.run(['python3', '-c', program.join('\n')]);
    using clients = new Clients();
    await clients.connect(24, portOf(victim));
    await victim.waitFor(/^FULL/m, 5000);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await victim.verdict();
  }, 30_000);

  test('that wait for the first bytes (TCP_DEFER_ACCEPT) keep connections from which they have come', async () => {
    const more = 's.setsockopt(6, 9, 30)';
    using victim = await Victim.run(server(2, { more }));
    using clients = new Clients();
    for (const text of ['one', 'two']) {
      const client = await Client.connect(portOf(victim));
      clients.all.push(client);
      client.say(Buffer.from(text));
    }
    await goOn(50);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await clients.finish(victim);
  }, 30_000);

  test('with a small receive buffer, and clients without options', async () => {
    using victim = await Victim.run(server(2, { more: 's.setsockopt(1, 8, 4096)' }));
    using clients = new Clients();
    await clients.connect(2, portOf(victim));
    for (const client of clients.all) client.say(new Uint8Array(1 << 20).fill(0x43));
    await goOn(100);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await clients.finish(victim);
  }, 30_000);

  test('whose connection was reset', async () => {
    const program = [
      'import socket, sys, time, struct',
      "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(5)",
      "c = socket.create_connection(s.getsockname()); c.sendall(b'last'); time.sleep(.1)",
      "c.setsockopt(1, 13, struct.pack('ii', 1, 0)); c.close()",
      'd = socket.create_connection(s.getsockname())',
      "print('READY', flush=True)",
      'while not sys.stdin.read(): time.sleep(.01)',
      's.settimeout(20); a, _ = s.accept(); said = []',
      'for i in range(2):',
      '  try: said.append(a.recv(9))',
      '  except OSError as error: said.append(error.errno)',
      'b, peer = s.accept()',
      "print('PASS' if said in ([104, b''], [b'last', 104]) and peer == d.getsockname() else 'FAIL: %r' % said, flush=True)",
    ];
    using victim = await Victim.run(['python3', '-c', program.join('\n')]);
    await victim.dump(['--leave-running', ...CARRY]);
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await victim.verdict();
  }, 30_000);
});

describe('are refused by name', () => {
  const refusal = async (victim: Victim, options: readonly string[] = CARRY): Promise<string> => {
    const { status, stderr } = await stasis([...victim.dumpLine(options), '--json']);
    expect(status).toBe(1);
    const { obstacles } = JSON.parse(stderr) as { obstacles: { code: string; reason: string; remedy: string }[] };
    expect(obstacles).toEqual([expect.objectContaining({ code: 'SOCKET_TCP_PENDING' })]);
    return `${obstacles[0]?.reason}; ${obstacles[0]?.remedy}`;
  };

  const CASES = [
    { name: 'without --tcp-established', options: [], says: '--tcp-established carries them' },
    { name: 'with bytes in SYNs', after: 's.setsockopt(6, 23, 5)', says: 'TCP_FASTOPEN' },
    { name: 'at a device', more: "s.setsockopt(1, 25, b'lo')", says: 'bound to a device' },
    { name: 'of MPTCP', more: 's = socket.socket(2, 1, 262)', says: 'MPTCP' },
  ];
  for (const { name, says, options, ...how } of CASES) {
    test(name, async () => {
      using victim = await Victim.run(server(1, how));
      using clients = new Clients();
      await clients.connect(1, portOf(victim));
      expect(await refusal(victim, options ?? CARRY)).toContain(says);
      await clients.finish(victim);
    }, 30_000);
  }
});
