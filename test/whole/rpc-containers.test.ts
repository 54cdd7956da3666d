/** What container engines need of the RPC: the points of namespaces, and terminals that they keep the other side of. */
import { expect, test } from 'bun:test';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CriuReqType } from '../../src/images/schema/rpc.ts';
import { F, O } from '../../src/kernel/constants/files.ts';
import { W } from '../../src/kernel/constants/ptrace.ts';
import { syscall, trySyscall } from '../../src/kernel/syscall.ts';
import { ask } from './kit/rpc-client.ts';
import { Terminal } from './kit/terminal.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const { DUMP, RESTORE } = CriuReqType;

/** A folder that is gone with its scope, opened as clients do. */
class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'stasis-rpc-'));
  readonly fd = openSync(this.path, 'r');

  [Symbol.dispose](): void {
    closeSync(this.fd);
    rmSync(this.path, { recursive: true });
  }
}

test('points of a tree in namespaces of its own', async () => {
  using victim = await Victim.start('sturdy', ['1'], { unshare: ['--pid', '--mount-proc', '--net', '--uts'] });
  using folder = new Folder();
  const opts = { images_dir_fd: folder.fd, pid: victim.pid, log_level: 4, notify_scripts: true };
  const before = ['pre-dump', 'network-lock', 'query-ext-files', 'post-dump'];
  for (const leave_running of [true, false]) {
    const { answer, notes } = await ask({ type: DUMP, opts: { ...opts, leave_running } });
    expect(answer).toMatchObject({ success: true });
    expect(notes.map(({ script }) => script)).toEqual(leave_running ? [...before, 'network-unlock'] : before);
  }
  const { answer, notes } = await ask({
    type: RESTORE,
    opts: { images_dir_fd: folder.fd, log_level: 4, notify_scripts: true, rst_sibling: true },
  });
  expect(answer).toMatchObject({ success: true });
  const pid = answer.restore?.pid ?? 0;
  expect(notes.map((note) => [note.script, note.pid])).toEqual([
    ['pre-restore', undefined],
    ['setup-namespaces', pid],
    ['post-setup-namespaces', undefined],
    ['post-restore', pid],
    ['network-unlock', undefined],
    ['pre-resume', undefined],
    ['post-resume', undefined],
  ]);
  victim.pid = pid;
  await goOn();
  await victim.verdict();
}, 30_000);

test('a terminal whose master the client keeps is made anew, and handed out', async () => {
  using folder = new Folder();
  const opts = { images_dir_fd: folder.fd, log_level: 4, notify_scripts: true, orphan_pts_master: true };
  const terminal = new Terminal(folder.path);
  const program =
    'trap "echo resized; stty size" WINCH; echo READY $$; while :; do read line && echo "got $line"; done';
  terminal.type(`exec sh -c '${program}'\n`);
  const pid = Number((await terminal.see(/READY (\d+)/))[1]);
  const without = await ask({ type: DUMP, opts: { ...opts, pid, orphan_pts_master: false } });
  expect(without.answer.cr_errmsg ?? '').toContain('/dev/pts/');
  expect((await ask({ type: DUMP, opts: { ...opts, pid } })).answer).toMatchObject({ success: true });
  terminal[Symbol.dispose]();
  const { answer, notes } = await ask({ type: RESTORE, opts: { ...opts, rst_sibling: true } });
  expect(answer).toMatchObject({ success: true, restore: { pid } });
  // It is our child, to be waited for once.
  let over = false;
  const ended = (): boolean => {
    over ||= trySyscall('wait4', pid, 0, W.NOHANG, 0) === pid;
    return over;
  };
  const handed = notes.filter(({ descriptors }) => descriptors.length > 0);
  expect(handed.map(({ script }) => script)).toEqual(['orphan-pts-master']);
  const master = handed[0]?.descriptors[0] ?? -1;
  try {
    syscall('fcntl', master, F.SETFL, O.NONBLOCK);
    writeSync(master, 'hello\n');
    expect(await shown(master, /got hello/)).toContain('got hello');
    // It is the terminal of the session: control-C ends the program.
    writeSync(master, '\x03');
    await until(
      () => ended() || undefined,
      5000,
      () => `process ${pid} goes on`,
    );
  } finally {
    closeSync(master);
    if (!ended()) process.kill(pid, 'SIGKILL');
  }
}, 30_000);

/** What is shown on a terminal, until it has a certain text. */
function shown(master: number, pattern: RegExp): Promise<string> {
  let text = '';
  const buffer = Buffer.alloc(4096);
  return until(
    () => {
      try {
        text += buffer.toString('utf8', 0, readSync(master, buffer));
      } catch {
        // Nothing more now.
      }
      return pattern.test(text) ? text : undefined;
    },
    5000,
    () => `only ${JSON.stringify(text)}`,
  );
}
