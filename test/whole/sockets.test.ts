/** Sockets. */
import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AF, MSG, SO, SOCK } from '../../src/kernel/constants/sockets.ts';
import { encodeControl } from '../../src/kernel/layouts/sockets.ts';
import { getNumber, socketPair, trySendMessage } from '../../src/kernel/sockets.ts';
import { Fd, syscall } from '../../src/kernel/syscall.ts';
import { free, HARM, moments, stasisKilled } from './kit/harm.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { victimSuite } from './kit/suite.ts';
import { Victim } from './kit/victim.ts';

/** Inode numbers are new ones. */
const INODES = /\.usk\.(ino|peer)$|\.tfd\.\d+\.inode$/;

victimSuite('unix sockets', [
  // It may be in the middle of a look, with some of it in its own hands.
  { victim: 'unixpairs', images: [INODES, /^sk-queues|\.usk\.backlog$/] },
  { victim: 'unixpairs', args: ['plain'], images: [INODES], ways: ['restore'] },
  { victim: 'unixnames', images: [INODES] },
  { victim: 'unixnames', args: ['plain'], images: [INODES], ways: ['restore'] },
  { victim: 'unixreset', images: [INODES] },
  { victim: 'unixfamily', images: [/./] },
  { victim: 'unixwaiting', images: [INODES, /\.usk\.backlog$/], ways: ['restore', 'cycles'] },
  // What waits is never the same.
  { victim: 'unixdgrams', images: [/./] }, // nor are the sockets it sends from
  { victim: 'unixdgrams', args: ['plain'], images: [INODES], ways: ['restore'] },
  { victim: 'unixring', images: [INODES, /^sk-queues|\.usk\.backlog$/] },
]);

test.each(['unixpairs', 'unixdgrams', 'unixnames'])(
  'queues that are being looked at when Stasis is killed: %s',
  async (name) => {
    using victim = await Victim.start(name);
    const began = performance.now();
    await stasisOk(victim.dumpLine(['--leave-running']));
    const span = performance.now() - began;
    for (const moment of moments(Math.ceil(HARM / 4), span)) {
      await stasisKilled(victim.dumpLine(['--leave-running']), moment);
      // What it said tells more than that it is not there.
      expect(victim.alive() ? '' : victim.output()).toBe('');
      await free(victim.pid);
      expect(victim.output()).not.toContain('FAIL');
    }
    await victim.verdict();
  },
  60_000 + HARM * 1000,
);

test(
  'restores that are killed leave neither processes nor names that are in the way',
  async () => {
    // None whose makers have ended: the processes in their place, of a Stasis that was killed, nobody here waits for.
    using victim = await Victim.start('unixnames', ['plain']);
    await victim.dump();
    const began = performance.now();
    await victim.restore();
    const span = performance.now() - began;
    await victim.dump();
    for (const moment of moments(Math.ceil(HARM / 2), 0.9 * span)) {
      const { signal } = await stasisKilled(victim.restoreLine(), moment);
      if (signal) await Bun.sleep(20);
      if (victim.remains().length > 0) await victim.dump(); // it was restored before the kill
    }
    await victim.restore();
    await victim.verdict();
    const left = readdirSync(victim.cwd);
    expect(left.filter((name) => name.startsWith('.'))).toEqual([]);
  },
  60_000 + HARM * 1000,
);

test('a restore that fails leaves the names as they were', async () => {
  using victim = await Victim.start('unixnames');
  await victim.dump();
  const before = readdirSync(victim.cwd);
  // The pidfile is written when everything is made.
  const { status } = await stasis(victim.restoreLine(['--pidfile', '/nowhere/pid']));
  expect(status).toBe(1);
  expect(readdirSync(victim.cwd)).toEqual(before);
  rmSync(join(victim.cwd, 'absolute'));
  await stasis(victim.restoreLine(['--pidfile', '/nowhere/pid']));
  expect(readdirSync(victim.cwd)).toEqual(before.filter((name) => name !== 'absolute'));
  await victim.restore();
  await victim.verdict();
});

test('what was sent on a connection that waits is refused where the tasks go on', async () => {
  using victim = await Victim.start('unixwaiting');
  const { status, stderr } = await stasis(victim.dumpLine(['--leave-running']));
  expect(status).toBe(1);
  expect(stderr).toContain('it has sent data: that can be saved only if the tasks do not go on');
  expect(stderr).toContain('the client has closed it meanwhile');
  await victim.verdict();
});

test('what was sent on a connection that waits is refused where one file has to be complete before', async () => {
  using victim = await Victim.start('unixwaiting');
  const { status, stderr } = await stasis(['dump', '-t', `${victim.pid}`, '--to', join(victim.dir, 'archive')]);
  expect(status).toBe(1);
  expect(stderr).toContain('it has sent data: that can be saved only when the rest is complete');
  expect(stderr).toContain('or into a folder (-D)');
  await victim.verdict();
});

test('connections that wait are as they were when a script has the tasks go on at the last moment', async () => {
  using victim = await Victim.start('unixwaiting');
  const script = `test "$CRTOOLS_SCRIPT_ACTION" != post-dump`;
  await stasis(victim.dumpLine(['--action-script', script]));
  expect(readdirSync(victim.images)).toContain('inventory.img');
  await free(victim.pid);
  await victim.verdict();
});

test('the images are not whole without what was sent on connections that wait', async () => {
  using victim = await Victim.start('unixwaiting');
  await victim.dump();
  const file = join(victim.images, 'stasis-unix-waiting.jsonl');
  const text = readFileSync(file, 'utf8');
  rmSync(file);
  const { status, stderr } = await stasis(victim.restoreLine());
  expect(status).toBe(1);
  expect(stderr).toMatch(/the connections that wait in file \d+ are missing/);
  writeFileSync(file, text);
  await victim.restore();
  await victim.verdict();
});

describe('refused before anything is touched', () => {
  /** A process with some of our sockets for standard input and output: what a dump of it says. */
  async function refusal(...sockets: readonly Fd[]): Promise<string> {
    return withChild(sockets, async (pid, images) => {
      const { status, stderr } = await stasis(['dump', '-t', String(pid), '-D', images]);
      expect(status).toBe(1);
      return stderr;
    });
  }

  async function withChild<T>(sockets: readonly Fd[], work: (pid: number, images: string) => Promise<T>): Promise<T> {
    const images = mkdtempSync(join(tmpdir(), 'stasis-test-'));
    const [input = 'ignore', output = 'ignore'] = sockets.map((socket) => socket.number);
    const child = spawn('sleep', ['1000'], { stdio: [input, output, 'ignore'], detached: true });
    try {
      return await work(child.pid ?? 0, images);
    } finally {
      child.kill('SIGKILL');
      rmSync(images, { recursive: true, force: true });
    }
  }

  function unixSocket(type: number): Fd {
    return new Fd(syscall('socket', AF.UNIX, type | SOCK.CLOEXEC, 0));
  }

  /** struct sockaddr_un with an abstract name of ours. */
  function address(name: string): Uint8Array {
    return new Uint8Array([AF.UNIX, 0, 0, ...new TextEncoder().encode(`stasis-test-${process.pid}-${name}`)]);
  }

  function named(type: number, name: string): Fd {
    const socket = unixSocket(type);
    const at = address(name);
    syscall('bind', socket.number, at, at.length);
    return socket;
  }

  function connected(type: number, name: string): Fd {
    const socket = unixSocket(type);
    const at = address(name);
    syscall('connect', socket.number, at, at.length);
    return socket;
  }

  test('the other end is outside of the tree', async () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.STREAM);
    using inside = one;
    using _ = other;
    expect(await refusal(inside)).toMatch(/fd 0 .*the other end, socket:\[\d+\], is held by a process/);
  });

  test('a connection from outside that waits', async () => {
    using listener = named(SOCK.STREAM, 'listener');
    syscall('listen', listener.number, 5);
    {
      using waiting = connected(SOCK.STREAM, 'listener');
      expect(await refusal(listener)).toContain('a connection waits to be accepted, of socket:[');
      expect(await refusal(waiting)).toMatch(/the other end, socket:\[\d+\] as @stasis-test-\d+-listener, is held/);
    }
  });

  test('out-of-band data', async () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.STREAM);
    using from = one;
    using to = other;
    const byte = new Uint8Array(1);
    syscall('sendto', from.number, byte, 1, MSG.OOB, 0, 0);
    expect(await refusal(from, to)).toContain('an out-of-band byte waits');
    expect(getNumber(to.number, SO.PEEK_OFF)).toBe(-1);
  });

  test('the other end is outside of the tree, and something waits: known while all still runs', async () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.STREAM);
    using inside = one;
    using outside = other;
    syscall('sendto', outside.number, new Uint8Array(1), 1, 0, 0, 0);
    await withChild([inside], async (pid) => {
      const { status, stdout } = await stasis(['check', '-t', String(pid)]);
      expect(stdout).toMatch(/the other end, socket:\[\d+\], is held by a process/);
      expect(status).toBe(1);
    });
  });

  test('a socket that waits in its own queue, and that nobody has, is closed', async () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.DGRAM);
    using inside = one;
    syscall('sendto', other.number, new Uint8Array(1), 1, 0, 0, 0);
    expect(trySendMessage(one.number, new Uint8Array(1), encodeControl([other.number]), 0)).toBe(1);
    other[Symbol.dispose]();
    await withChild([inside], async (pid, images) => {
      await stasisOk(['dump', '-t', String(pid), '-D', images, '--leave-running']);
    });
  });

  test('messages behind an error', async () => {
    const [one, other] = socketPair(AF.UNIX, SOCK.SEQPACKET);
    using inside = one;
    const byte = new Uint8Array(1);
    for (const fd of [one, other]) syscall('sendto', fd.number, byte, 1, 0, 0, 0);
    other[Symbol.dispose]();
    expect(await refusal(inside)).toContain('an error waits to be reported, and messages behind it');
    expect(() => syscall('recvfrom', inside.number, byte, 1, MSG.DONTWAIT, 0, 0)).toThrow('ECONNRESET');
  });

  test('sockets of other families', async () => {
    using vsock = new Fd(syscall('socket', AF.VSOCK, SOCK.STREAM | SOCK.CLOEXEC, 0));
    expect(await refusal(vsock)).toContain('sockets of family vsock are not carried: the other end is');
  });
});
