/** TCP. */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { free, HARM, moments, stasisKilled } from './kit/harm.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

/** Inode numbers are new ones. */
const INODES = /\.isk\.ino$/;

const CARRY = ['--tcp-established'] as const;

victimSuite('tcp', [
  { victim: 'tcpmany', args: ['300'], dump: CARRY, restore: CARRY, ways: ['restore', 'again'] },
  { victim: 'tcpidle', images: [INODES, /\.so_buf_lock$/] }, // which MPTCP does not take
  // A connection's image is named after its inode, and its windows move.
  ...['4', '6', 'mapped'].map((family) => ({
    victim: 'tcpstates',
    args: [family],
    // Receive buffers grow with what comes in. Whatever is bound to an address of IPv6 is IPV6_V6ONLY.
    images: [INODES, /^tcp-stream/, /\.(so_rcvbuf|v6only)$/],
    dump: CARRY,
    restore: CARRY,
  })),
]);

test('a FIN is made in a namespace in which the other end is not there', async () => {
  using victim = await Victim.start('lastack', [], {
    unshare: ['--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh'],
  });
  // So long that the acknowledgement of the FIN, which is delayed, leaves and is answered.
  const wrapper = ['strace', '-o', '/dev/null', '-e', 'trace=shutdown', '-e', 'inject=shutdown:delay_enter=300000'];
  for (let cycle = 0; cycle < 2; cycle++) {
    await victim.dump(CARRY);
    const { status, stderr } = await stasis(victim.restoreLine(CARRY), { cwd: victim.dir, wrapper });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    await goOn();
  }
  await victim.verdict();
}, 60_000);

test(
  'connections that are being read when Stasis is killed',
  async () => {
    using victim = await Victim.start('tcpstates', ['4']);
    const line = (): string[] => victim.dumpLine(['--leave-running', ...CARRY]);
    const began = performance.now();
    await stasisOk(line());
    const span = performance.now() - began;
    for (const moment of moments(Math.ceil(HARM / 2), span)) {
      await stasisKilled(line(), moment);
      // The victim looks for repair mode all the time.
      expect(victim.output()).not.toContain('FAIL');
      await free(victim.pid);
      expect(victim.output()).not.toContain('FAIL');
    }
    await victim.verdict();
  },
  60_000 + HARM * 1000,
);

test(
  'a dump that is killed at its end has killed nobody, or has saved all',
  async () => {
    using victim = await Victim.start('tcpstates', ['4']);
    const began = performance.now();
    await victim.dump(CARRY);
    const span = performance.now() - began;
    await victim.restore(CARRY);
    for (const moment of moments(Math.ceil(HARM / 4), span / 2).map((at) => at + span / 2)) {
      await stasisKilled(victim.dumpLine(CARRY), moment);
      // Past this image the kernel kills the tree of a Stasis that is killed, and takes a moment for it.
      if (existsSync(join(victim.images, 'inventory.img'))) await goOn(100);
      if (victim.alive()) await free(victim.pid);
      expect(victim.output()).not.toContain('FAIL');
      if (victim.alive()) continue;
      await victim.waitGone();
      await victim.restore(CARRY);
    }
    await victim.verdict();
  },
  60_000 + HARM * 1000,
);

test(
  'a restore that is killed leaves no connection, and can be done again',
  async () => {
    using victim = await Victim.start('tcpstates', ['4']);
    const before = connections();
    await victim.dump(CARRY);
    const others = connections();
    const own = [...before].filter((connection) => !others.has(connection));
    const began = performance.now();
    // As long as a restore takes; it fails at its end, for there is no such directory.
    expect((await stasis([...victim.restoreLine(CARRY), '--pidfile', '/nowhere/pid'])).status).toBe(1);
    const span = performance.now() - began;
    for (const moment of moments(Math.ceil(HARM / 8), span * 0.9)) {
      await stasisKilled([...victim.restoreLine(CARRY), '--pidfile', '/nowhere/pid'], moment);
      await victim.waitGone();
      // The kernel takes a moment to kill what else has the sockets, but no longer.
      const left = (): string[] => own.filter((connection) => connections().has(connection));
      await until(
        () => (left().length === 0 ? true : undefined),
        2000,
        () => `still there: ${left().join(', ')}`,
      );
    }
    await victim.restore(CARRY);
    await victim.verdict();
  },
  60_000 + HARM * 1000,
);

/** The connections of this machine over IPv4: both addresses, in hexadecimal. */
function connections(): ReadonlySet<string> {
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1, -1);
  return new Set(lines.map((line) => line.trim().split(/\s+/).slice(1, 3).join(' ')));
}

/** A program that listens on a port and is READY with it. It does `more` before that, and `asked` when it is asked. */
function listener(more = '', { address = '127.0.0.1', asked = '' } = {}): string[] {
  const program = [
    'import socket, sys, time',
    `s = socket.socket(); s.bind(('${address}', 0)); s.listen(5)`,
    'port = s.getsockname()[1]',
    more,
    "print('READY', port, flush=True)",
    'while not sys.stdin.read(): time.sleep(.01)',
    asked,
  ];
  return ['python3', '-c', program.join('\n')];
}

const portOf = (victim: Victim): number => Number(/READY (\d+)/.exec(victim.output())?.[1]);

/** Listens on a port of this machine until it is disposed of. */
async function occupied(port: number): Promise<AsyncDisposable> {
  const server: Server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())) };
}

describe('what is in the way is told before there is a process', () => {
  test('a port that somebody else has', async () => {
    using victim = await Victim.run(listener());
    const port = portOf(victim);
    await victim.dump();
    {
      await using _ = await occupied(port);
      const { status, stderr } = await stasis([...victim.restoreLine(), '--json']);
      expect(status).toBe(1);
      const error = JSON.parse(stderr);
      expect(error).toMatchObject({ code: 'SOCKET_PORT_TAKEN', kind: 'conflict' });
      expect(error.reason).toContain(`127.0.0.1:${port}`);
      expect(error.remedy).toContain(`--inet-addr-map 127.0.0.1:${port}=`);
      // The option helps.
      await victim.restore(['--inet-addr-map', `127.0.0.1:${port}=127.0.0.9:${port}`]);
    }
    const { stdout } = spawnSync('ss', ['-tlnH', `sport = :${port}`], { encoding: 'utf8' });
    expect(stdout).toContain(`127.0.0.9:${port}`);
  }, 30_000);

  test('an address that this machine does not have', async () => {
    using device = new Device('192.0.2.77/32');
    using victim = await Victim.run(listener('', { address: '192.0.2.77' }));
    await victim.dump();
    device[Symbol.dispose]();
    const { status, stderr } = await stasis([...victim.restoreLine(), '--json']);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'SOCKET_ADDRESS_MISSING', kind: 'conflict' });
    await victim.restore(['--inet-addr-map', '192.0.2.77=127.0.0.1']);
  }, 30_000);

  test('a device that is gone', async () => {
    using device = new Device('192.0.2.78/32');
    const bind = `s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'${device.name}')`;
    using victim = await Victim.run(listener(bind));
    await victim.dump();
    device[Symbol.dispose]();
    const { status, stderr } = await stasis([...victim.restoreLine(), '--json']);
    expect(status).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ code: 'SOCKET_DEVICE_MISSING', kind: 'conflict' });
  }, 30_000);

  test('a connection that there is already', async () => {
    using victim = await Victim.run(listener(`${ENDS}; s.close()`, { asked: EXCHANGE }));
    await victim.dump(['--leave-running', ...CARRY]);
    // In a PID namespace of its own the same PIDs are free, but the network is the same.
    const wrapper = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
    const { status, stderr } = await stasis(victim.restoreLine(CARRY), { wrapper });
    expect(status).toBe(1);
    expect(stderr).toMatch(/there is a connection between 127\.0\.0\.1:\d+ and 127\.0\.0\.1:\d+ on this machine/);
    await victim.verdict();
  }, 30_000);
});

/** A network device with an address, until it is disposed of. */
class Device implements Disposable {
  static #count = 0;
  readonly name = `st${process.pid}x${Device.#count++}`.slice(-14);

  constructor(address: string) {
    this.#ip('link', 'add', this.name, 'type', 'veth', 'peer', 'name', `${this.name}p`);
    this.#ip('address', 'add', address, 'dev', this.name);
    this.#ip('link', 'set', this.name, 'up');
  }

  #ip(...args: readonly string[]): void {
    const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
  }

  [Symbol.dispose](): void {
    spawnSync('ip', ['link', 'delete', this.name]);
  }
}

/** Both ends of a connection, with bytes on the way. */
const ENDS = "c = socket.create_connection(s.getsockname()); a, _ = s.accept(); a.sendall(b'unread')";

/** Both ends exchange bytes, or it is told why not. */
const EXCHANGE = [
  'try:',
  "  c.sendall(b'ping'); assert a.recv(4) == b'ping'; a.sendall(b'pong'); got = c.recv(10)",
  '  while len(got) < 10: got += c.recv(10)',
  "  print('PASS' if got == b'unreadpong' else 'FAIL: %r' % got, flush=True)",
  '  print(c.getsockname(), a.getsockname(), flush=True)',
  'except OSError as error:',
  "  print('FAIL:', type(error).__name__, len(c.recv(10)), flush=True)",
].join('\n');

describe('with somebody outside of the tree', () => {
  /** A server in this process. It sends back what comes, in capitals. */
  class Echo implements AsyncDisposable {
    readonly events: string[] = [];
    readonly #sockets: Socket[] = [];
    readonly #server = createServer((socket) => {
      this.#sockets.push(socket);
      socket.on('data', (bytes) => void socket.write(bytes.toString('latin1').toUpperCase()));
      for (const event of ['end', 'close', 'error']) socket.on(event, () => void this.events.push(event));
    });

    async listen(): Promise<number> {
      await new Promise<void>((resolve) => void this.#server.listen(0, '127.0.0.1', resolve));
      return (this.#server.address() as AddressInfo).port;
    }

    say(text: string): void {
      for (const socket of this.#sockets) socket.write(text);
    }

    async [Symbol.asyncDispose](): Promise<void> {
      for (const socket of this.#sockets) socket.destroy();
      await new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    }
  }

  const client = (port: number): string[] => {
    const program = [
      'import socket, sys, time',
      `c = socket.create_connection(('127.0.0.1', ${port}))`,
      'def say(text):',
      '  c.sendall(text); got = b""',
      '  while len(got) < len(text): got += c.recv(100)',
      '  return got',
      "assert say(b'one') == b'ONE'",
      "print('READY', flush=True)",
      'while not sys.stdin.read(): time.sleep(.01)',
      'got = c.recv(6, socket.MSG_WAITALL)',
      "print('PASS' if got == b'waited' and say(b'two') == b'TWO' else 'FAIL: %r' % got, flush=True)",
    ];
    return ['python3', '-c', program.join('\n')];
  };

  test('who notices nothing, whether the tree goes on or is restored', async () => {
    await using echo = new Echo();
    using victim = await Victim.run(client(await echo.listen()));
    echo.say('wai');
    await goOn();
    await victim.dump(['--leave-running', ...CARRY]);
    echo.say('ted');
    await goOn();
    await victim.cycle({ dump: CARRY, restore: CARRY });
    await victim.cycle({ dump: CARRY, restore: CARRY });
    expect(echo.events).toEqual([]);
    await victim.verdict();
  }, 30_000);

  test('who has not answered yet', async () => {
    // A queue that is full answers no SYN.
    const server = 's.listen(0); full = [socket.socket() for _ in range(4)]';
    const fill = '[f.setblocking(False) or f.connect_ex(s.getsockname()) for f in full]; time.sleep(.1)';
    const take =
      's.setblocking(True); got = [s.accept()[0] for _ in range(3)]; print("TAKEN", flush=True); time.sleep(9)';
    using other = await Victim.run(listener(`${server}; ${fill}`, { asked: take }));
    const asks = [
      'import socket, sys, time, select, struct',
      `c = socket.socket(); c.setblocking(False); c.connect_ex(('127.0.0.1', ${portOf(other)})); time.sleep(.1)`,
      'state = lambda: c.getsockopt(6, 11, 1)[0]',
      "print('READY', state(), flush=True)",
      'while not sys.stdin.read(): time.sleep(.01)',
      "print('SENT' if state() == 2 else 'FAIL: %d' % state(), flush=True)",
      'ready = select.select([], [c], [], 20)[1]',
      "print('PASS' if ready and c.getsockopt(1, 4) == 0 and state() == 1 else 'FAIL: %d' % state(), flush=True)",
    ];
    using victim = await Victim.run(['python3', '-c', asks.join('\n')]);
    expect(victim.output()).toBe('READY 2\n');
    await victim.cycle({ dump: CARRY, restore: CARRY });
    const verdict = victim.verdict({ limitMs: 20_000 });
    await victim.waitFor(/^SENT/m, 5000);
    appendFileSync(join(other.dir, 'ask'), 'ask\n');
    await verdict;
  }, 60_000);
});

describe('connections', () => {
  test('are refused without an option, naming both ends and the options', async () => {
    using victim = await Victim.run(listener(ENDS, { asked: EXCHANGE }));
    const port = portOf(victim);
    const { status, stderr } = await stasis(victim.dumpLine());
    expect(status).toBe(1);
    expect(stderr).toMatch(new RegExp(`127\\.0\\.0\\.1:\\d+ connected to 127\\.0\\.0\\.1:${port}, established`));
    expect(stderr).toContain('--tcp-established carries the connection, --tcp-close lets it go');
    await victim.dump(CARRY);
    const refused = await stasis(victim.restoreLine());
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/it is a connection of TCP between 127\.0\.0\.1:\d+ and 127\.0\.0\.1:\d+/);
    await victim.restore(CARRY);
    await victim.verdict();
  }, 30_000);

  test('get other addresses', async () => {
    using victim = await Victim.run(listener(ENDS, { asked: EXCHANGE }));
    const port = portOf(victim);
    await victim.dump(CARRY);
    const map = ['--inet-addr-map', '127.0.0.1=127.0.0.7', '--inet-addr-map', `127.0.0.1:${port}=127.0.0.8:${port}`];
    await victim.restore([...CARRY, ...map]);
    await victim.verdict();
    await victim.waitFor(new RegExp(`^\\('127\\.0\\.0\\.7', \\d+\\) \\('127\\.0\\.0\\.8', ${port}\\)`, 'm'), 1000);
  }, 30_000);

  test('are let go: both ends see the end of the stream', async () => {
    using victim = await Victim.run(listener(ENDS, { asked: EXCHANGE }));
    const { stderr } = await victim.dump(['--tcp-close']);
    expect(stderr).toContain('its connection is let go (--tcp-close)');
    expect(readdirSync(victim.images).filter((name) => name.startsWith('tcp-stream'))).toEqual([]);
    const { status, stderr: refusal } = await stasis(victim.restoreLine(CARRY));
    expect(status).toBe(1);
    expect(refusal).toContain('--tcp-close');
    await victim.restore(['--tcp-close']);
    await expect(victim.verdict()).rejects.toThrow('FAIL: BrokenPipeError 0');
  }, 30_000);

  test('that nobody has accepted are lost with --skip-in-flight, at the dump or at the restore', async () => {
    const asked = "s.settimeout(.2)\ntry: s.accept(); print('FAIL')\nexcept TimeoutError: print('PASS')";
    using victim = await Victim.run(listener('c = socket.create_connection(s.getsockname())', { asked }));
    await victim.cycle({ dump: CARRY, restore: [...CARRY, '--skip-in-flight'] });
    await victim.verdict();
    using other = await Victim.run(listener('c = socket.create_connection(s.getsockname())', { asked }));
    await other.cycle({ dump: [...CARRY, '--skip-in-flight'], restore: CARRY });
    await other.verdict();
  }, 30_000);

  test('that nobody has accepted since nothing has come in (TCP_DEFER_ACCEPT)', async () => {
    const defer = 's.setsockopt(6, 9, 30); c = socket.create_connection(s.getsockname())';
    using victim = await Victim.run(listener(defer));
    const { status, stderr } = await stasis(victim.dumpLine(CARRY));
    expect(status).toBe(1);
    expect(stderr).toContain('1 connection waits to be accepted');
    await victim.cycle({ dump: [...CARRY, '--skip-in-flight'], restore: CARRY });
  }, 30_000);

  test('of MPTCP are refused', async () => {
    const ends = 's = socket.socket(2, 1, 262); s.bind(("127.0.0.1", 0)); s.listen(5); c = socket.socket(2, 1, 262)';
    using victim = await Victim.run(listener(`${ends}; c.connect(s.getsockname()); a, _ = s.accept()`));
    const { status, stderr } = await stasis([...victim.dumpLine(CARRY), '--json']);
    expect(status).toBe(1);
    const codes = (JSON.parse(stderr) as { obstacles: { code: string }[] }).obstacles.map(({ code }) => code);
    expect(codes).toEqual(['SOCKET_MPTCP', 'SOCKET_MPTCP']);
  }, 30_000);

  test('whose segments are signed are refused', async () => {
    // struct tcp_md5sig: an address, flags, and a key of three bytes for whoever connects from there.
    const sign =
      "s.setsockopt(6, 14, struct.pack('=HH4s120xBBHi80s', 2, 0, bytes([127, 0, 0, 1]), 0, 0, 3, 0, b'key'))";
    using victim = await Victim.run(listener(`import struct\n${sign}`));
    const { status, stderr } = await stasis([...victim.dumpLine(CARRY), '--json']);
    expect(status).toBe(1);
    expect(JSON.parse(stderr).obstacles).toEqual([expect.objectContaining({ code: 'SOCKET_TCP_SIGNED' })]);
  }, 30_000);

  test('whose image is missing or damaged', async () => {
    using victim = await Victim.run(listener(ENDS, { asked: EXCHANGE }));
    await victim.dump(CARRY);
    const [image = ''] = readdirSync(victim.images).filter((name) => name.startsWith('tcp-stream'));
    rmSync(join(victim.images, image));
    rmSync(join(victim.images, 'stasis-manifest.json'));
    const { status, stderr } = await stasis(victim.restoreLine(CARRY));
    expect(status).toBe(1);
    expect(stderr).toContain(image);
  }, 30_000);
});
