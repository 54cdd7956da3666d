/** Unix sockets whose peers are outside of the tree. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AF, MSG, SOCK } from '../../src/kernel/constants/sockets.ts';
import { encodeUnixAddress } from '../../src/kernel/layouts/sockets.ts';
import { borrow, openPidfd } from '../../src/kernel/pidfd.ts';
import { rawAddress } from '../../src/kernel/socket-facts.ts';
import { socketPair } from '../../src/kernel/sockets.ts';
import { Fd, syscall, trySyscall } from '../../src/kernel/syscall.ts';
import { stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-outside-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A server that sends back what it gets, and tells whom it talks to. */
class Echo implements Disposable {
  readonly clients: Socket[] = [];
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
    server.on('connection', (client) => {
      this.clients.push(client);
      client.on('data', (data) => client.write(data));
      client.on('error', () => undefined);
    });
  }

  static async at(path: string): Promise<Echo> {
    const server = createServer();
    const echo = new Echo(server);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return echo;
  }

  /** Sends something to its only client. */
  async sends(text: string): Promise<void> {
    const client = await until(
      () => this.clients[0],
      5000,
      () => 'nobody has connected',
    );
    await new Promise((resolve) => client.write(text, resolve));
  }

  [Symbol.dispose](): void {
    for (const client of this.clients) client.destroy();
    this.#server.close();
  }
}

const refused = async (victim: Victim, ...options: string[]): Promise<string> => {
  const { status, stderr } = await stasis(victim.dumpLine(options));
  expect(status).toBe(1);
  return stderr;
};

/** A client whose server has ended since it was connected, or holds it no longer than that. */
async function connected(type: string, how: string, path: string): Promise<Victim> {
  using server = new Fd(syscall('socket', AF.UNIX, TYPES[type as keyof typeof TYPES] | SOCK.CLOEXEC, 0));
  const at = encodeUnixAddress(new TextEncoder().encode(path));
  syscall('bind', server.number, at, at.length);
  syscall('listen', server.number, 5);
  const victim = await Victim.start('unixclient', [type, how, path]);
  held.push(syscall('accept4', server.number, 0, 0, SOCK.CLOEXEC));
  return victim;
}

const TYPES = { stream: SOCK.STREAM, seqpacket: SOCK.SEQPACKET, dgram: SOCK.DGRAM } as const;
/** Our ends of connections, open until all tests are done. */
const held: number[] = [];

/** The inode of a socket of a victim. */
function inodeOf(victim: Victim, fd: number): number {
  return statSync(`/proc/${victim.pid}/fd/${fd}`).ino;
}

/** What comes in a socket of ours, when it comes. */
async function received(socket: Fd): Promise<string> {
  const room = new Uint8Array(64);
  const length = await until(
    () => {
      const got = trySyscall('recvfrom', socket.number, room, room.length, MSG.DONTWAIT, 0, 0);
      return got < 0 ? undefined : got;
    },
    5000,
    () => 'nothing has come',
  );
  return new TextDecoder().decode(room.subarray(0, length));
}

describe('streams', () => {
  test('refused by name, with the process at the other end', async () => {
    const path = join(dir, 'refused');
    using _ = await Echo.at(path);
    using victim = await Victim.start('unixclient', ['stream', 'echo', path]);
    const said = await refused(victim);
    expect(said).toContain(`connected to ${path}, its peer is fd`);
    expect(said).toContain(`of task ${process.pid}`);
    expect(said).toMatch(/the other end, socket:\[\d+\] as .*, is held by a process that is not in the tree/);
    expect(said).toContain('--unix-peer reconnect');
    // As with CRIU, this option is for datagrams.
    expect(await refused(victim, '--ext-unix-sk')).toContain('is held by a process');
    await victim.verdict();
  });

  test('connected again by name', async () => {
    const path = join(dir, 'reconnect');
    using echo = await Echo.at(path);
    using victim = await Victim.start('unixclient', ['stream', 'echo', path]);
    const options = ['--unix-peer', 'reconnect'];
    await victim.cycle({ dump: options, restore: options });
    await victim.verdict();
    expect(echo.clients.length).toBe(2);
  });

  test('a restore has to be told too, and somebody has to be there', async () => {
    const path = join(dir, 'nobody');
    const options = ['--unix-peer', 'reconnect'];
    using victim = await connected('stream', 'end', path);
    await victim.dump(options);
    const said = await stasis(victim.restoreLine());
    expect(said.status).toBe(1);
    expect(said.stderr).toContain('--ext-unix-sk or --unix-peer reconnect connects it again by name');
    const alone = await stasis(victim.restoreLine(options));
    expect(alone.status).toBe(1);
    expect(alone.stderr).toContain('no socket has that name now');
    expect(victim.remains()).toEqual([]);
  });

  test('what waits is not lost by a new connection', async () => {
    const path = join(dir, 'waits');
    using echo = await Echo.at(path);
    using victim = await Victim.start('unixclient', ['stream', 'end', path]);
    await echo.sends('before');
    expect(await refused(victim, '--unix-peer', 'reconnect')).toContain('6 bytes wait that its peer has sent');
    await victim.dump(['--external', `unix[${inodeOf(victim, 3)}]`]);
    const { stderr } = await stasis(victim.restoreLine(['--unix-peer', 'reconnect']));
    expect(stderr).toContain('bytes wait that its peer outside of the tree has sent');
    await victim.restore(['--unix-peer', 'reset']);
    await victim.verdict();
  });

  test.each(['stream', 'seqpacket'])('%s: another end is given', async (type) => {
    const path = join(dir, `given-${type}`);
    using victim = await connected(type, 'echo', path);
    const key = `socket:[${inodeOf(victim, 3)}]`;
    await victim.dump(['--external', key.replace('socket:', 'unix')]);
    const [one, other] = socketPair(AF.UNIX, type === 'stream' ? SOCK.STREAM : SOCK.SEQPACKET);
    using ours = one;
    using theirs = other;
    const line = victim.restoreLine(['--inherit-fd', `fd[3]:${key}`]);
    const [file = '', ...args] = [...stasisCommand(), ...line];
    const stdio = ['ignore', 'pipe', 'pipe', theirs.number] as const;
    const done = spawnSync(file, args, { stdio: [...stdio], encoding: 'utf8', timeout: 30_000 });
    expect([done.status, done.stderr]).toEqual([0, '']);
    theirs[Symbol.dispose]();
    const verdict = victim.verdict();
    await received(ours);
    syscall('sendto', ours.number, new TextEncoder().encode('hello'), 5, 0, 0, 0);
    await verdict;
  });

  test('reset: what waits, then the end', async () => {
    const path = join(dir, 'reset');
    using echo = await Echo.at(path);
    using victim = await Victim.start('unixclient', ['stream', 'end', path]);
    await echo.sends('before');
    await victim.cycle({ dump: ['--unix-peer', 'reset'], restore: [] });
    await victim.verdict();
  });
});

describe('datagrams', () => {
  test.each(['path', 'abstract', 'relative'])('connected again by name: %s', async (kind) => {
    const name = kind === 'abstract' ? `@stasis-${process.pid}` : join(dir, `log-${kind}`);
    using server = new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
    const text = kind === 'relative' ? `log-${kind}` : name.replace('@', '\0');
    const at = encodeUnixAddress(new TextEncoder().encode(text));
    const before = process.cwd();
    if (kind === 'relative') process.chdir(dir);
    syscall('bind', server.number, at, at.length);
    // That of a relative name is looked for where the process that has it is.
    using victim = await Victim.start('unixclient', ['dgram', 'echo', name]);
    try {
      expect(await refused(victim)).toContain('--ext-unix-sk, at the dump and at the restore');
      await victim.dump(['--ext-unix-sk']);
    } finally {
      process.chdir(before);
    }
    expect((await stasis(victim.restoreLine())).stderr).toContain('its peer was outside of the tree');
    await victim.restore(['--ext-unix-sk']);
    await victim.verdict();
    expect(await received(server)).toBe('hello');
  });

  test('reset', async () => {
    const name = join(dir, 'log-reset');
    using server = new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
    const at = encodeUnixAddress(new TextEncoder().encode(name));
    syscall('bind', server.number, at, at.length);
    using victim = await Victim.start('unixclient', ['dgram', 'gone', name]);
    await victim.cycle({ dump: ['--unix-peer', 'reset'], restore: [] });
    await victim.verdict();
  });
});

describe('a socket that was accepted from somebody outside', () => {
  test.each(['path', 'abstract'])('keeps its name, and that its listening socket: %s', async (kind) => {
    const text = kind === 'path' ? join(dir, 'activated') : `\0stasis-activated-${process.pid}`;
    const at = encodeUnixAddress(new TextEncoder().encode(text));
    const images = mkdtempSync(join(dir, 'images-'));
    using listener = new Fd(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
    syscall('bind', listener.number, at, at.length);
    syscall('listen', listener.number, 5);
    using client = new Fd(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
    syscall('connect', client.number, at, at.length);
    using accepted = new Fd(syscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC));
    const child = spawn('sleep', ['1000'], { stdio: [accepted.number, client.number, 'ignore'], detached: true });
    const pid = child.pid ?? 0;
    try {
      for (const end of [client, accepted]) end[Symbol.dispose]();
      await stasisOk(['dump', '-t', String(pid), '-D', images, '-o', 'dump.log'], join(images, 'dump.log'));
      await until(
        () => child.signalCode ?? undefined,
        5000,
        () => 'it is not gone',
      );
      const { status, stderr } = await stasis(['restore', '-D', images, '-o', 'restore.log', '-d']);
      expect(status).toBe(0);
      expect(stderr).toContain(kind === 'path' ? '' : 'somebody listens at that name');
      using pidfd = openPidfd(pid);
      using restored = new Fd(borrow(pidfd, 0));
      const name = rawAddress('getsockname', restored.number);
      if (kind === 'path') expect(name?.subarray(2, 2 + text.length)).toEqual(new TextEncoder().encode(text));
      using other = new Fd(syscall('socket', AF.UNIX, SOCK.STREAM | SOCK.CLOEXEC, 0));
      syscall('connect', other.number, at, at.length);
      using _ = new Fd(syscall('accept4', listener.number, 0, 0, SOCK.CLOEXEC));
    } finally {
      trySyscall('kill', pid, 9);
      trySyscall('wait4', pid, 0, 0, 0);
    }
  });
});

describe('names at the restore', () => {
  const name = (victim: Victim): string => join(victim.cwd, 'absolute');
  const status = async (victim: Victim): Promise<string> => {
    const { status, stderr } = await stasis(victim.restoreLine());
    expect(status).toBe(1);
    expect(victim.remains()).toEqual([]);
    return stderr;
  };

  test('one that a live socket has is kept', async () => {
    using victim = await Victim.start('unixnames', ['plain']);
    await victim.dump();
    unlinkSync(name(victim));
    {
      using _ = await Echo.at(name(victim));
      expect(await status(victim)).toContain(`${name(victim)}: another socket is bound there`);
    }
    rmSync(name(victim), { force: true });
    writeFileSync(name(victim), 'mine');
    expect(await status(victim)).toContain('there is a file that is no socket');
    rmSync(name(victim));
    await victim.restore();
    await victim.verdict();
  });

  test('abstract', async () => {
    using victim = await Victim.start('unixnames');
    await victim.dump();
    {
      using other = new Fd(syscall('socket', AF.UNIX, SOCK.SEQPACKET | SOCK.CLOEXEC, 0));
      const at = encodeUnixAddress(new TextEncoder().encode(`\0stasis-${victim.pid}`));
      syscall('bind', other.number, at, at.length);
      expect(await status(victim)).toContain(`@stasis-${victim.pid}: another socket has that name`);
    }
    await victim.restore();
    await victim.verdict();
  });
});
