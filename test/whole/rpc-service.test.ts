/** The RPC as a daemon: many clients, and what those that are not root may have done. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { actAs } from '../../src/kernel/act-as.ts';
import { goesOn } from './kit/harm.ts';
import { RpcClient } from './kit/rpc-client.ts';
import { stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const { DUMP, RESTORE, VERSION, FEATURE_CHECK, CHECK } = CriuReqType;
const NOBODY = 65534;

let home = '';
let socket = '';
let service: ChildProcess;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'stasis-service-'));
  chmodSync(home, 0o755);
  socket = join(home, 'socket');
  const [file = '', ...args] = stasisCommand();
  const line = ['service', '-D', home, '--address', 'socket', '-o', 'service.log', '-v4', '--status-fd', '3'];
  service = spawn(file, [...args, ...line], { stdio: ['ignore', 'inherit', 'ignore', 'pipe'] });
  const status = service.stdio[3] as Readable;
  expect(await new Promise<Buffer>((resolve) => status.once('data', resolve))).toEqual(Buffer.alloc(1));
});

afterAll(async () => {
  const ended = new Promise((resolve) => service.on('exit', (_, signal) => resolve(signal)));
  service.kill('SIGTERM');
  expect(await ended).toBe('SIGTERM');
  expect(existsSync(socket)).toBe(false);
  rmSync(home, { recursive: true });
});

/** A folder for images that belongs to a user. */
function folder(name: string, uid = 0): string {
  const path = join(home, name);
  mkdirSync(path);
  chownSync(path, uid, uid);
  return path;
}

/** A client with the effective user and group of somebody else; it keeps no capability. */
const connectAs = (uid: number): RpcClient => actAs(uid, uid, () => RpcClient.connect(socket));

test('many clients at once, each with a process of its own; none is left', async () => {
  expect(statSync(socket).mode & 0o777).toBe(0o666);
  const clients = Array.from({ length: 8 }, () => RpcClient.connect(socket));
  for (const client of clients) expect(client.ask({ type: VERSION, keep_open: true })).toMatchObject({ success: true });
  for (const client of clients.reverse()) expect(client.ask({ type: CHECK })).toMatchObject({ success: true });
  for (const client of clients) client[Symbol.dispose]();
  const children = (): string => readFileSync(`/proc/${service.pid}/task/${service.pid}/children`, 'utf8');
  await until(
    () => (children() === '' ? true : undefined),
    5000,
    () => `left: ${children()}`,
  );
}, 30_000);

test('root dumps and restores; fields for children are refused', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const images_dir = folder('root');
  const { pid } = victim;
  const opts = { images_dir_fd: -1, images_dir, pid, log_file: 'dump.log' };
  using dumping = RpcClient.connect(socket);
  expect(dumping.ask({ type: DUMP, opts })).toEqual({ type: DUMP, success: true, dump: { restored: false } });
  await until(
    () => (victim.exists() ? undefined : true),
    5000,
    () => `process ${pid} is still there`,
  );
  for (const more of [{ rst_sibling: true }, { inherit_fd: [{ key: 'a', fd: 1 }] }]) {
    using client = RpcClient.connect(socket);
    const answer = client.ask({ type: RESTORE, opts: { images_dir_fd: -1, images_dir, ...more } });
    expect(answer).toMatchObject({ success: false, cr_errno: 56 });
  }
  using restoring = RpcClient.connect(socket);
  const restored = restoring.ask({ type: RESTORE, opts: { images_dir_fd: -1, images_dir } });
  expect(restored).toEqual({ type: RESTORE, success: true, restore: { pid } });
  await goesOn(victim);
  await victim.verdict();
}, 30_000);

test('a client that is not root has dumped what it could trace, and nothing else', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  const images_dir = folder('nobody', NOBODY);
  const own = spawn('sleep', ['1000'], { uid: NOBODY, gid: NOBODY, detached: true, stdio: 'ignore', cwd: '/' });
  const gone = new Promise((resolve) => own.on('exit', (_, signal) => resolve(signal)));
  const opts = { images_dir_fd: -1, images_dir, log_file: 'dump.log', log_level: 4 };
  try {
    using refused = connectAs(NOBODY);
    const answer = refused.ask({ type: DUMP, opts: { ...opts, pid: victim.pid } });
    expect(answer.success).toBe(false);
    expect(answer.cr_errmsg ?? '').toMatch(/may not be read/);
    await goesOn(victim);
    using elsewhere = connectAs(NOBODY);
    const other = elsewhere.ask({ type: DUMP, opts: { ...opts, images_dir: folder('closed'), pid: own.pid ?? 0 } });
    expect(other.success).toBe(false);
    using dumping = connectAs(NOBODY);
    const dumped = dumping.ask({ type: DUMP, opts: { ...opts, pid: own.pid ?? 0 } });
    expect(dumped).toEqual({ type: DUMP, success: true, dump: { restored: false } });
    expect(await gone).toBe('SIGKILL');
    expect(statSync(join(images_dir, 'inventory.img')).uid).toBe(NOBODY);
    using restoring = connectAs(NOBODY);
    const restored = restoring.ask({ type: RESTORE, opts });
    expect(restored).toMatchObject({ success: false });
    expect(restored.cr_errmsg ?? '').toContain('have root restore the images');
  } finally {
    own.kill('SIGKILL');
  }
}, 30_000);

test('no script is run for a client that is not root', () => {
  const images_dir = folder('scripts', NOBODY);
  const config_file = join(images_dir, 'conf');
  writeFileSync(config_file, `action-script "touch ${home}/evil"\n`);
  using client = connectAs(NOBODY);
  const answer = client.ask({ type: DUMP, opts: { images_dir_fd: -1, images_dir, config_file, pid: process.pid } });
  expect(answer.success).toBe(false);
  expect(existsSync(join(home, 'evil'))).toBe(false);
});

test('an address that is taken, and one that a killed service has left', async () => {
  const second = await stasis(['service', '-D', home, '--address', socket]);
  expect(second.status).toBe(1);
  expect(second.stderr).toContain('somebody listens there');
  const file = join(home, 'file');
  writeFileSync(file, '');
  expect((await stasis(['service', '-D', home, '--address', file])).stderr).toContain('no socket');
  expect(existsSync(file)).toBe(true);
});

test('in the background, with a pidfile', async () => {
  const work = folder('background');
  const line = ['service', '-W', work, '-D', work, '--address', 'socket', '-o', 'log', '--daemon', '--pidfile', 'pid'];
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await stasisOk(line);
    const pid = Number(readFileSync(join(work, 'pid'), 'utf8'));
    try {
      using client = RpcClient.connect(join(work, 'socket'));
      const features = { mem_track: true };
      expect(client.ask({ type: FEATURE_CHECK, features })).toMatchObject({ success: true });
    } finally {
      process.kill(pid, signal);
    }
    await until(
      () => (existsSync(`/proc/${pid}/exe`) ? undefined : true),
      5000,
      () => 'it goes on',
    );
    rmSync(join(work, 'pid'));
    expect(existsSync(join(work, 'socket'))).toBe(signal === 'SIGKILL');
  }
}, 30_000);

/** A program that has itself dumped: it asks, and tells how it was answered. */
const SELF = `
import os, signal, socket, sys
path, leave = sys.argv[1], sys.argv[2] == 'running'
service = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
service.connect(path)
# type: DUMP; opts { images_dir_fd: 3; leave_running; log_file: "dump.log" }
opts = b'\\x08\\x03' + b'\\x18' + bytes([leave]) + b'\\x52\\x08dump.log'
service.send(b'\\x08\\x01\\x12' + bytes([len(opts)]) + opts)
for _ in range(2):
    answer = service.recv(4096)
    print('answer', answer.hex(), os.getpid(), flush=True)
    if not answer: break
signal.pause()
`;

describe('a program that has itself dumped', () => {
  /** Starts it; tells what it has said, and when it has ended. */
  function start(state: 'running' | 'dead') {
    const images = mkdtempSync(join(home, 'self-'));
    const out = join(images, 'out');
    const command = `exec 3<${images} </dev/null >${out} 2>&1; exec /usr/bin/python3 -c "$0" ${socket} ${state}`;
    const child = spawn('sh', ['-c', command, SELF], { detached: true, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    const shown = (): string => (existsSync(out) ? readFileSync(out, 'utf8') : '');
    const says = (text: string): Promise<true> =>
      until(
        () => shown().includes(text) || undefined,
        10_000,
        () => `only ${JSON.stringify(shown())}`,
      );
    return { images, pid: child.pid ?? 0, kill: () => child.kill('SIGKILL'), ended, shown, says };
  }

  test('is answered if it goes on', async () => {
    const program = start('running');
    try {
      await program.says(`answer 080110011a020800 ${program.pid}\nanswer  ${program.pid}\n`);
    } finally {
      program.kill();
      await program.ended;
    }
  }, 20_000);

  test('is answered when it is restored', async () => {
    const program = start('dead');
    await program.ended;
    expect(program.shown()).toBe('');
    using client = RpcClient.connect(socket);
    const restored = client.ask({ type: RESTORE, opts: { images_dir_fd: -1, images_dir: program.images } });
    expect(restored).toMatchObject({ success: true, restore: { pid: program.pid } });
    try {
      await program.says(`answer 080110011a020801 ${program.pid}\nanswer  ${program.pid}\n`);
    } finally {
      process.kill(program.pid, 'SIGKILL');
    }
  }, 20_000);
});
