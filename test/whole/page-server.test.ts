/** Dumps whose pages go to a page server, and what becomes of both sides when something goes wrong. */
import { expect, test } from 'bun:test';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { AF, SOCK } from '../../src/kernel/constants/sockets.ts';
import { socketPair } from '../../src/kernel/sockets.ts';
import { MESSAGE_SIZE, PS, putMessage, targetId } from '../../src/memory/page-server/protocol.ts';
import { buryOrphans } from './kit/bury-orphans.ts';
import { merge, optionsFor, Server } from './kit/page-server.ts';
import { type Request, RpcClient } from './kit/rpc-client.ts';
import { complaint, type Outcome, stasis } from './kit/stasis.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

/** A way to a page server that lets some bytes through and then nothing more, so that a dump stays in the middle. */
class Bottleneck implements Disposable {
  readonly #server: NetServer;
  readonly #sockets: Socket[] = [];
  /** Fulfilled when the last byte has gone through. */
  readonly full: Promise<void>;

  private constructor(to: number, bytes: number) {
    let fill = (): void => {};
    this.full = new Promise((resolve) => (fill = resolve));
    this.#server = createServer((near) => {
      const far = connect(to, '127.0.0.1');
      this.#sockets.push(near, far);
      let left = bytes;
      near.on('data', (part) => {
        far.write(part.subarray(0, left));
        left -= part.length;
        if (left > 0) return;
        near.pause();
        fill();
      });
      far.on('data', (part) => void near.write(part));
      for (const [end, other] of [
        [near, far],
        [far, near],
      ] as const) {
        end.on('error', () => {}).once('close', () => void other.destroy());
      }
    });
  }

  static async start(server: Server, bytes: number): Promise<Bottleneck> {
    const made = new Bottleneck(server.port, bytes);
    await new Promise<void>((resolve) => void made.#server.listen(0, '127.0.0.1', () => resolve()));
    return made;
  }

  get options(): string[] {
    return optionsFor((this.#server.address() as AddressInfo).port);
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

type Link = 'pre-dump' | 'snapshot' | 'dump';

/** One link of a chain, made over a page server; each side has a directory of its own. */
async function link(victim: Victim, kind: Link, count: number, isLinked: boolean, ...more: string[]): Promise<string> {
  const previous = isLinked ? ['--prev-images-dir', `../remote-${count - 1}`] : [];
  using server = await Server.start(join(victim.dir, `remote-${count}`), [...previous, ...more]);
  const line = victim.dumpLine([...server.options, ...(isLinked ? ['--prev-images-dir', `../${lastOf(victim)}`] : [])]);
  if (kind === 'pre-dump') line[0] = 'pre-dump';
  if (kind === 'snapshot') line.push('-R', '--track-mem');
  const outcome = await stasis(line, { limitMs: 60_000 });
  if (outcome.status !== 0) throw new Error(complaint(line, outcome, join(victim.images, 'dump.log')));
  expect(await server.end()).toEqual({ status: 0, stderr: '' });
  last.set(victim, victim.images);
  return server.dir;
}

const last = new Map<Victim, string>();
const lastOf = (victim: Victim): string => (last.get(victim) ?? '').replace(/.*\//, '');

for (const name of ['memory', 'segments', 'inheritance', 'sysv', 'threads']) {
  test(`${name}: dumped to a page server and restored`, async () => {
    using victim = await Victim.start(name);
    if (victim.skipped) return;
    using server = await Server.start(join(victim.dir, 'remote'));
    await victim.dump(server.options);
    expect(await server.end()).toEqual({ status: 0, stderr: '' });
    expect(readdirSync(victim.images).filter((file) => /^page/.test(file))).toEqual([]);
    merge(victim.images, server.dir);
    victim.images = server.dir;
    await victim.restore();
    await victim.verdict();
  }, 30_000);
}

test.each([[], ['--auto-dedup']])(
  'a chain of a program that never stops writing, in separate directories %s',
  async (...more) => {
    using victim = await Victim.start('scribbler');
    const rounds = Number(process.env.STASIS_ROUNDS ?? 7);
    let dir = '';
    for (let round = 0; round < rounds; round++) {
      const kind = round === rounds - 1 ? 'dump' : round % 2 === 0 ? 'pre-dump' : 'snapshot';
      dir = await link(victim, kind, round, round > 0, ...more);
      expect(readFileSync(join(victim.images, 'dump.log'), 'utf8')).not.toMatch(/Warn|nobody has noticed/);
      await sleep(Math.random() * 60);
    }
    const log = readFileSync(join(dir, 'page-server.log'), 'utf8');
    expect(log).toMatch(/[1-9]\d* in the previous images/);
    if (more.length > 0) expect(log).toMatch(/[1-9]\d* bytes of earlier images are freed/);
    await victim.waitGone();
    merge(victim.images, dir);
    victim.images = dir;
    buryOrphans(victim.pid);
    await victim.restore();
    await sleep(50);
    await victim.verdict({ limitMs: 20_000 });
  },
  120_000,
);

test('a server without the previous images gets everything', async () => {
  using victim = await Victim.start('memory');
  await link(victim, 'pre-dump', 0, false);
  using server = await Server.start(join(victim.dir, 'other'));
  await victim.dump([...server.options, '--prev-images-dir', `../${lastOf(victim)}`]);
  expect(await server.end()).toEqual({ status: 0, stderr: '' });
  expect(readFileSync(join(victim.images, 'dump.log'), 'utf8')).toMatch(/does not have the previous images/);
  merge(victim.images, server.dir);
  rmSync(join(server.dir, 'parent'), { force: true });
  victim.images = server.dir;
  await victim.restore();
  await victim.verdict();
}, 30_000);

/** The tree goes on after a dump that has failed, and nothing of that is left. */
async function requireUnharmed(victim: Victim, outcome: Outcome, message: RegExp): Promise<void> {
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(message);
  expect(readdirSync(victim.images).filter((name) => !name.endsWith('.log'))).toEqual([]);
  await victim.verdict();
}

test('nobody listens: an error before anything is touched', async () => {
  using victim = await Victim.start('memory');
  const outcome = await stasis(victim.dumpLine(['--page-server', '--address', '127.0.0.1', '--port', '1']));
  await requireUnharmed(victim, outcome, /the page server at 127\.0\.0\.1:1: .*refused.*\nHint: start it first/i);
}, 30_000);

test('a server that is killed in the middle: the program goes on', async () => {
  using victim = await Victim.start('sturdy', ['64']);
  using server = await Server.start(join(victim.dir, 'remote'));
  using way = await Bottleneck.start(server, 1 << 20);
  const dumping = stasis(victim.dumpLine(way.options), { limitMs: 20_000 });
  await way.full;
  server.kill();
  await requireUnharmed(victim, await dumping, /the page server at 127\.0\.0\.1:\d+: it has hung up/);
}, 60_000);

test('a server that cannot store the pages says so, and both leave nothing', async () => {
  using victim = await Victim.start('memory');
  const dir = mkdtempSync(join(tmpdir(), 'stasis-small-'));
  try {
    using server = await Server.start(join(victim.dir, 'remote'), ['--prev-images-dir', dir]);
    // The previous images have a pagemap that makes no sense.
    await Bun.write(join(dir, `pagemap-${victim.pid}.img`), 'x'.repeat(100));
    const outcome = await stasis(victim.dumpLine(server.options));
    await requireUnharmed(victim, outcome, /it has hung up/);
    const { status, stderr } = await server.end();
    expect(status).toBe(1);
    expect(stderr).toMatch(/^Error: pagemap-\d+\.img: /);
    expect(server.images).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}, 30_000);

test('a dump that is killed leaves nothing at the server', async () => {
  using victim = await Victim.start('sturdy', ['64']);
  using server = await Server.start(join(victim.dir, 'remote'));
  using way = await Bottleneck.start(server, 1 << 20);
  const dumping = stasis(victim.dumpLine(way.options), {
    started: (pid) => void way.full.then(() => process.kill(pid, 9)),
  });
  expect((await dumping).signal).toBe('SIGKILL');
  // It reads no more, and so does not see that the dump has gone.
  way[Symbol.dispose]();
  const { status, stderr } = await server.end();
  expect(status).toBe(1);
  expect(stderr).toMatch(/^Error: the dump at 127\.0\.0\.1:\d+: it has hung up/);
  expect(server.images).toEqual([]);
  await victim.verdict();
}, 60_000);

/** Sends bytes to a server and hangs up; answers how it has ended. */
async function send(
  ...parts: readonly Uint8Array[]
): Promise<{ readonly status: number | null; readonly stderr: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-garbage-'));
  try {
    using server = await Server.start(dir);
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    for (const part of parts) socket.write(part);
    socket.end();
    const ended = await server.end();
    expect(server.images).toEqual([]);
    return ended;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function message(fields: Parameters<typeof putMessage>[2]): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_SIZE);
  putMessage(new DataView(bytes.buffer), 0, fields);
  return bytes;
}

test('what makes no sense is a clear error, and nothing is stored', async () => {
  const task = targetId({ of: 'task', id: 5n });
  const open = message({ command: PS.OPEN, target: task });
  const add = (start: number, pages: number, flags = 4): Uint8Array =>
    message({ command: PS.ADD_F, target: task, start, pages, flags });
  const page = new Uint8Array(4096);
  const cases: [parts: readonly Uint8Array[], message: RegExp][] = [
    [[], /it has hung up before it had sent everything/],
    [[Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')], /there is no command 17735/],
    [[Buffer.from('short')], /it has hung up in the middle of a message/],
    [[open.subarray(0, 31)], /it has hung up in the middle of a message/],
    [[message({ command: PS.OPEN2, target: 0xffn })], /0xff means neither a task nor a segment/],
    [[message({ command: PS.GET, target: 5n, pages: 1 })], /it asks for pages/],
    [[open, add(4096, 1), page.subarray(1)], /it has hung up in the middle of a page/],
    [[open, add(4096, 2 ** 50), page], /it has hung up in the middle of a page/],
    [[open, add(4096, 2 ** 60), page], /task 5: .* fit into no address space/],
    [[open, add(8192, 1), page, add(4096, 1), page], /task 5: pages at 0x1000 after those up to 0x3000/],
    [[open, add(8192, 1, 1)], /task 5: the previous images do not have the page at 0x2000/],
    [[open, open], /task 5 comes twice/],
    [[open, add(4096, 1), page], /it has hung up before it had sent everything/],
  ];
  for (const [parts, expected] of cases) {
    const { status, stderr } = await send(...parts);
    expect(stderr).toMatch(expected);
    expect(status).toBe(1);
  }
  const dice = Buffer.from(Array.from({ length: 5000 }, () => Math.floor(Math.random() * 256)));
  for (let i = 0; i < 5; i++) {
    const { status, stderr } = await send(dice.subarray(i * 900));
    expect(status).toBe(1);
    expect(stderr).toMatch(/^Error: the dump at 127\.0\.0\.1/);
  }
}, 120_000);

test('a peer that is no page server is told apart', async () => {
  using victim = await Victim.start('memory');
  const peer = createServer((socket) => socket.on('error', () => {}).once('data', () => void socket.write('HTTP/1.1')));
  await new Promise<void>((resolve) => void peer.listen(0, '127.0.0.1', () => resolve()));
  const { port } = peer.address() as { readonly port: number };
  const outcome = await stasis(victim.dumpLine(['--page-server', '--address', 'localhost', '--port', `${port}`]));
  peer.close();
  await requireUnharmed(victim, outcome, /the page server at 127\.0\.0\.1:\d+: it answers 72 to an open/);
}, 30_000);

test('in the background, with a pidfile', async () => {
  using victim = await Victim.start('memory');
  const dir = join(victim.dir, 'remote');
  mkdirSync(dir);
  const log = join(dir, 'ps.log');
  const line = [
    'page-server',
    '-D',
    dir,
    '-o',
    'ps.log',
    '-v4',
    '--daemon',
    '--pidfile',
    'pid',
    '--address',
    '127.0.0.1',
  ];
  const { status, stdout } = await stasis(line);
  expect(status).toBe(0);
  const port = /listening at 127\.0\.0\.1:(\d+)/.exec(stdout)?.[1] ?? '';
  const pid = Number(readFileSync(join(dir, 'pid'), 'utf8'));
  expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toMatch(/page-server/);
  await victim.dump(['--page-server', '--address', '127.0.0.1', '--port', port]);
  await until(
    () => (/1 tasks/.test(readFileSync(log, 'utf8')) ? true : undefined),
    5000,
    () => 'no end',
  );
  merge(victim.images, dir);
  victim.images = dir;
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a signal ends a server that waits', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-waits-'));
  using server = await Server.start(dir);
  process.kill(server.pid, 'SIGTERM');
  const { stderr } = await server.end();
  expect(stderr).toMatch(/no images are left of what was received/);
  rmSync(dir, { recursive: true });
}, 30_000);

/** What go-criu's phaul does: all iterations over one pair of sockets, and the restore before the tree is killed. */
test('over the RPC: a migration by pre-dumps over one connection', async () => {
  using victim = await Victim.start('scribbler', [], { unshare: ['--pid'] });
  const [near, far] = socketPair(AF.UNIX, SOCK.STREAM);
  const folder = (name: string): string => {
    mkdirSync(join(victim.dir, name));
    return join(victim.dir, name);
  };
  const images = (dir: string, log: string): object => ({
    images_dir_fd: -1,
    images_dir: dir,
    log_level: 4,
    log_file: log,
  });
  using dumper = RpcClient.swrk({ inherited: [near.number] });
  const serve = (dir: string, previous: string | undefined): void => {
    using client = RpcClient.swrk({ inherited: [far.number] });
    const parent = previous === undefined ? {} : { parent_img: `../${basename(previous)}` };
    const opts = { ...images(dir, 'ps.log'), ...parent, ps: { fd: 4 } } as Request['opts'];
    expect(client.ask({ type: CriuReqType.PAGE_SERVER_CHLD, opts })).toMatchObject({ success: true });
  };
  const locals: string[] = [];
  const remotes: string[] = [];
  const options = (log: string): Request['opts'] => {
    const previous = locals.at(-1);
    locals.push(folder(`local-${locals.length}`));
    const before = remotes.at(-1);
    remotes.push(folder(`remote-${remotes.length}`));
    serve(remotes.at(-1) ?? '', before);
    const parent = previous === undefined ? {} : { parent_img: previous };
    return { ...images(locals.at(-1) ?? '', log), ...parent, pid: victim.pid, ps: { fd: 4 } } as Request['opts'];
  };
  for (let round = 0; round < 3; round++) {
    expect(dumper.ask({ type: CriuReqType.PRE_DUMP, opts: options('pre-dump.log') })).toMatchObject({ success: true });
    await sleep(20);
  }
  const opts = { ...options('dump.log'), track_mem: true, notify_scripts: true } as Request['opts'];
  let restored = 0;
  dumper.reply = ({ script }) => {
    if (script !== 'post-dump') return { notify_success: true };
    const remote = remotes.at(-1) ?? '';
    for (const name of readdirSync(locals.at(-1) ?? '')) {
      if (name.endsWith('.img')) copyFileSync(join(locals.at(-1) ?? '', name), join(remote, name));
    }
    using restorer = RpcClient.swrk();
    const answer = restorer.ask({ type: CriuReqType.RESTORE, opts: images(remote, 'restore.log') as Request['opts'] });
    if (!answer.success) throw new Error(answer.cr_errmsg);
    restored = answer.restore?.pid ?? 0;
    return { notify_success: true };
  };
  expect(dumper.ask({ type: CriuReqType.DUMP, opts })).toMatchObject({ success: true });
  expect(restored).toBeGreaterThan(0);
  expect(readFileSync(join(remotes.at(-1) ?? '', 'ps.log'), 'utf8')).toMatch(/[1-9]\d* in the previous images/);
  victim.pid = restored;
  await victim.verdict();
}, 60_000);

test('over the RPC: a page server, and a dump to it', async () => {
  using victim = await Victim.start('memory');
  const dir = join(victim.dir, 'remote');
  mkdirSync(dir);
  using client = RpcClient.swrk();
  const asked = { images_dir_fd: -1, images_dir: dir, log_file: 'ps.log', log_level: 4, ps: { address: '127.0.0.1' } };
  const started = client.ask({ type: CriuReqType.PAGE_SERVER_CHLD, opts: asked, keep_open: true });
  expect(started).toMatchObject({ success: true });
  const { pid = 0, port = 0 } = started.ps ?? {};
  expect(port).toBeGreaterThan(0);
  const images = join(victim.dir, 'images-rpc');
  mkdirSync(images);
  using dumper = RpcClient.swrk();
  const ps = { address: '127.0.0.1', port };
  const opts = { images_dir_fd: -1, images_dir: images, pid: victim.pid, log_file: 'dump.log', log_level: 4, ps };
  expect(dumper.ask({ type: CriuReqType.DUMP, opts })).toMatchObject({ success: true });
  expect(client.ask({ type: CriuReqType.WAIT_PID, pid })).toMatchObject({ success: true, status: 0 });
  await victim.waitGone();
  merge(images, dir);
  victim.images = dir;
  await victim.restore();
  await victim.verdict();
}, 30_000);
