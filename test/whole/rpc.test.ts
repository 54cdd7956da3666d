/** The RPC as engines use it: `swrk` on one end of a pair of sockets. */
import { expect, test } from 'bun:test';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { canBringPages } from '../../src/kernel/userfault-missing.ts';
import { whyNoTracking } from '../../src/memory/tracking/tracking.ts';
import { goesOn } from './kit/harm.ts';
import { ask, type Request, RpcClient } from './kit/rpc-client.ts';
import { differences } from './kit/state.ts';
import { goOn, Victim } from './kit/victim.ts';

const { DUMP, RESTORE, CHECK, VERSION, FEATURE_CHECK, WAIT_PID, PRE_DUMP, SINGLE_PRE_DUMP, PAGE_SERVER } = CriuReqType;
const EBADRQC = 56;
const ENOTSUP = 95;

/** A directory of a victim, opened as clients do. */
class Folder implements Disposable {
  readonly path: string;
  readonly fd: number;

  constructor(victim: Victim, name = 'images') {
    this.path = join(victim.dir, name);
    mkdirSync(this.path, { recursive: true });
    this.fd = openSync(this.path, 'r');
  }

  read(name: string): string {
    return readFileSync(join(this.path, name), 'utf8');
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

const dumpOf = (victim: Victim, folder: Folder, opts: Partial<Request['opts']> = {}): Request => ({
  type: DUMP,
  opts: { images_dir_fd: folder.fd, pid: victim.pid, log_level: 4, log_file: 'dump.log', ...opts },
});

const restoreOf = (folder: Folder, opts: Partial<Request['opts']> = {}): Request => ({
  type: RESTORE,
  opts: { images_dir_fd: folder.fd, log_level: 4, log_file: 'restore.log', rst_sibling: true, ...opts },
});

test('several requests over one connection; options of VERSION do not matter', async () => {
  using client = RpcClient.swrk();
  const opts = { images_dir_fd: 12345, root: '/nowhere', work_dir_fd: 99, ext_mnt: [{ key: '/a', val: '' }] };
  const version = { major_number: 4, minor_number: 2 };
  expect(client.ask({ type: VERSION, keep_open: true, opts })).toEqual({ type: VERSION, success: true, version });
  const features = { mem_track: true, lazy_pages: true, pidfd_store: true };
  const there = { mem_track: whyNoTracking() === undefined, lazy_pages: canBringPages(), pidfd_store: false };
  const found = client.ask({ type: FEATURE_CHECK, keep_open: true, features });
  expect(found).toEqual({ type: FEATURE_CHECK, success: true, features: there });
  expect(client.ask({ type: VERSION })).toMatchObject({ success: true });
  expect(await client.end()).toBe(0);
});

test('pre-dumps and the dump over one connection, and a single pre-dump', async () => {
  using victim = await Victim.start('memory');
  const folders = ['1', '2', '3'].map((name) => new Folder(victim, name));
  const [first, second, third] = folders as [Folder, Folder, Folder];
  const single = await ask({ ...dumpOf(victim, first), type: SINGLE_PRE_DUMP });
  expect(single.answer).toEqual({ type: SINGLE_PRE_DUMP, success: true });
  expect(single.status).toBe(0);
  const client = RpcClient.swrk();
  const preDump = { ...dumpOf(victim, second, { parent_img: '../1', track_mem: true }), type: PRE_DUMP };
  expect(client.ask(preDump)).toEqual({ type: PRE_DUMP, success: true });
  const dump = dumpOf(victim, third, { parent_img: '../2', track_mem: true });
  expect(client.ask(dump)).toMatchObject({ type: DUMP, success: true });
  expect(await client.end()).toBe(0);
  await victim.waitGone();
  const sizes = folders.map(({ path }) => statSync(join(path, 'pages-1.img')).size);
  expect(sizes[2]).toBeLessThan((sizes[0] ?? 0) / 2);
  const { answer } = await ask(restoreOf(third));
  expect(answer.success).toBe(true);
  await victim.verdict();
  for (const folder of folders) folder[Symbol.dispose]();
}, 30_000);

test('a client may go after a PRE_DUMP, and may ask for nothing else', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  const { answer, status } = await ask({ ...dumpOf(victim, folder), type: PRE_DUMP });
  expect(answer).toEqual({ type: PRE_DUMP, success: true });
  expect(status).toBe(0);
  using client = RpcClient.swrk();
  expect(client.ask({ ...dumpOf(victim, folder), type: PRE_DUMP }).success).toBe(true);
  expect(client.ask({ type: VERSION })).toMatchObject({
    success: false,
    cr_errmsg: expect.stringContaining('PRE_DUMP'),
  });
  expect(await client.end()).toBe(1);
  await goesOn(victim);
}, 30_000);

test('check', async () => {
  const { answer, status } = await ask({ type: CHECK });
  expect(answer).toEqual({ type: CHECK, success: true });
  expect(status).toBe(0);
  const nowhere = await ask({ type: CHECK, opts: { images_dir_fd: -1, log_file: 'check.log' } });
  expect(nowhere.answer).toMatchObject({ type: CHECK, success: false });
  expect(nowhere.answer?.cr_errmsg).toContain('neither a directory of images nor work_dir_fd says where the log is');
});

test('a dump that leaves the tree running, a dump, a restore as a child of the client; notifications', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  const before = await victim.settled();
  const points = ['pre-dump', 'query-ext-files', 'post-dump'];
  for (const leave_running of [true, false]) {
    const dumped = await ask(dumpOf(victim, folder, { leave_running, notify_scripts: true }));
    expect(dumped.answer).toEqual({ type: DUMP, success: true, dump: { restored: false } });
    expect(dumped.status).toBe(0);
    expect(dumped.notes.map(({ script, pid }) => [script, pid])).toEqual(points.map((point) => [point, undefined]));
    expect(victim.alive()).toBe(leave_running);
  }
  expect(folder.read('dump.log')).toContain('Stasis');
  expect(existsSync(join(folder.path, 'stats-dump'))).toBe(true);
  const { pid } = victim;
  const restored = await ask(restoreOf(folder, { notify_scripts: true }));
  expect(restored.answer).toEqual({ type: RESTORE, success: true, restore: { pid } });
  const told = restored.notes.map(({ script, pid }) => [script, pid]);
  const rest = ['pre-resume', 'post-resume'].map((point) => [point, undefined]);
  expect(told).toEqual([['pre-restore', undefined], ['post-restore', pid], ...rest]);
  await goOn();
  expect(differences(before, await victim.settled())).toEqual([]);
}, 30_000);

test('a notification that fails before anything is done, and one after the dump', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  for (const [failing, images] of [
    ['pre-dump', false],
    ['query-ext-files', false],
    ['post-dump', true],
  ] as const) {
    using folder = new Folder(victim, failing);
    using client = RpcClient.swrk();
    client.reply = ({ script }) => ({ notify_success: script !== failing });
    const answer = client.ask(dumpOf(victim, folder, { notify_scripts: true }));
    expect(answer).toMatchObject({ type: DUMP, success: false });
    expect(answer.cr_errmsg ?? '').toContain(failing);
    expect(await client.end()).toBe(1);
    expect(victim.alive()).toBe(true);
    expect(existsSync(join(folder.path, 'inventory.img'))).toBe(images);
    await goesOn(victim);
  }
}, 30_000);

test('a client that hangs up in the middle', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  using client = RpcClient.swrk();
  client.reply = () => {
    throw new Error('gone');
  };
  expect(() => client.ask(dumpOf(victim, folder, { notify_scripts: true }))).toThrow('gone');
  expect(await client.end()).toBe(1);
  expect(victim.alive()).toBe(true);
  expect(folder.read('dump.log')).toContain('hung up');
  await goesOn(victim);
}, 30_000);

test('what cannot be done is said with cause and remedy, and nothing is touched', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  const refused = async (request: Request, errno: number | undefined, words: RegExp): Promise<void> => {
    const { answer, status } = await ask(request);
    expect(answer).toMatchObject({ type: request.type, success: false });
    expect(answer.cr_errmsg ?? '').toMatch(words);
    expect(answer.cr_errno).toBe(errno);
    expect(Buffer.byteLength(answer.cr_errmsg ?? '')).toBeLessThanOrEqual(900);
    expect(status).toBe(1);
    expect(victim.alive()).toBe(true);
  };
  await refused({ type: DUMP }, EBADRQC, /opts: they are missing/);
  await refused({ type: DUMP, opts: { images_dir_fd: -1 } }, EBADRQC, /images_dir_fd/);
  await refused({ type: DUMP, opts: { images_dir_fd: 999 } }, EBADRQC, /descriptor 999 of the client/);
  await refused(dumpOf(victim, folder, { log_file: '../x' }), EBADRQC, /log_file/);
  await refused(dumpOf(victim, folder, { pid: 4_194_303 }), 3, /no such process/);
  await refused(dumpOf(victim, folder, { pid: -1 }), EBADRQC, /pid/);
  await refused(dumpOf(victim, folder, { empty_ns: 1 }), EBADRQC, /empty_ns/);
  await refused(dumpOf(victim, folder, { network_lock: 77 }), EBADRQC, /network_lock/);
  await refused(dumpOf(victim, folder, { root: 'a\0b' }), EBADRQC, /NUL/);
  await refused(dumpOf(victim, folder, { cpu_cap: 1 }), ENOTSUP, /cpu_cap: not built yet/);
  await refused(dumpOf(victim, folder, { ps: { port: 1234 } }), EBADRQC, /it is not said where the page server is/);
  await refused(dumpOf(victim, folder, { cpu_cap: 1 }), ENOTSUP, /cpu_cap/);
  await refused({ ...dumpOf(victim, folder), keep_open: true }, EBADRQC, /keep_open/);
  await refused({ type: PAGE_SERVER }, EBADRQC, /opts: they are missing/);
  await refused({ type: WAIT_PID, pid: 1 }, 10, /no such child/);
  // The log is there although the request was refused: engines show it.
  expect(folder.read('dump.log')).toContain('Error (rpc.ts)');
  expect(readdirSync(folder.path)).toEqual(['dump.log']);
}, 60_000);

test('bytes that are no request', async () => {
  using client = RpcClient.swrk();
  const answer = client.askRaw(new Uint8Array(3000).fill(255), [0, 1, 2]);
  expect(answer).toMatchObject({ type: 0, success: false, cr_errno: EBADRQC });
  expect(await client.end()).toBe(1);
});

test('a PID that is in use', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  await ask(dumpOf(victim, folder, { leave_running: true }));
  const { answer } = await ask(restoreOf(folder));
  expect(answer).toMatchObject({ success: false, cr_errno: 17, restore: { pid: -1 } });
}, 20_000);

test('configuration files: the one a request names wins over its fields, and may be missing', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  using work = new Folder(victim, 'work');
  const config = join(victim.dir, 'runc.conf');
  const request = dumpOf(victim, folder, { config_file: config, work_dir_fd: work.fd, leave_running: true });
  expect((await ask(request)).answer.success).toBe(true);
  expect(work.read('dump.log')).toContain('Stasis');
  const script = join(victim.dir, 'notes');
  writeFileSync(config, `log-file other.log\naction-script "echo $CRTOOLS_SCRIPT_ACTION >>${script}"\nleave-running\n`);
  expect((await ask({ ...request, opts: { ...request.opts, images_dir_fd: folder.fd } })).answer.success).toBe(true);
  expect(work.read('other.log')).toContain('Stasis');
  expect(readFileSync(script, 'utf8')).toBe('pre-dump\npost-dump\n');
  writeFileSync(config, 'no-such-option\n');
  const { answer } = await ask(request);
  expect(answer).toMatchObject({ success: false, cr_errno: EBADRQC });
  expect(answer.cr_errmsg).toContain('runc.conf:1');
  expect(victim.alive()).toBe(true);
}, 30_000);

test('a restore that becomes a command', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  using folder = new Folder(victim);
  await ask(dumpOf(victim, folder));
  const exec_cmd = ['sh', '-c', 'echo parent of $(cat /proc/$$/task/$$/children)'];
  const { answer, status } = await ask(restoreOf(folder, { rst_sibling: false, exec_cmd }));
  expect(answer).toMatchObject({ success: true, restore: { pid: victim.pid } });
  expect(status).toBe(0);
  expect(folder.read('restore.log')).toContain(`parent of ${victim.pid}`);
}, 20_000);
