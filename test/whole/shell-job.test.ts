/** Jobs of a shell on a terminal: dumped on one terminal, restored on another (--shell-job). */
import { afterEach, expect, test } from 'bun:test';
import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { trySyscall } from '../../src/kernel/syscall.ts';
import { victimBinary } from './kit/compile.ts';
import { Pty } from './kit/pty.ts';
import { stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';

const WNOHANG = 1;
const dirs: string[] = [];
/** A child the runtime waits for itself, as long as it is the one that was started. */
let scriptPid = 0;

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-job-'));
  dirs.push(dir);
  return dir;
}

afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const contentOf = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** Waits for a line in a job's `out`. */
function says(dir: string, pattern: RegExp, screen: () => string): Promise<RegExpExecArray> {
  const out = join(dir, 'out');
  return until(
    () => pattern.exec(contentOf(out)) ?? undefined,
    10_000,
    () => `no ${pattern} in ${JSON.stringify(contentOf(out))}; on the screen: ${screen()}`,
  );
}

const gone = (pid: number): Promise<true> =>
  until(
    () => {
      // Orphans are ours to bury when another test of this run has made us their reaper.
      if (pid !== scriptPid) trySyscall('wait4', pid, 0, WNOHANG, 0);
      return contentOf(`/proc/${pid}/stat`) === '' ? true : undefined;
    },
    10_000,
    () => `process ${pid} is still there`,
  );

test('a job moves from one terminal to another, and back into the foreground', async () => {
  const dir = makeDir();
  using here = new Pty(dir);
  here.type(`${victimBinary('job')}\n`);
  const pid = Number((await says(dir, /READY (\d+)/, () => here.screen()))[1]);

  const refused = await stasis(['dump', '-t', String(pid), '-D', dir]);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toContain('--shell-job');
  expect(here.foreground()).toBe(pid);

  await stasisOk(['dump', '-t', String(pid), '-D', dir, '--shell-job', '-o', 'dump.log'], join(dir, 'dump.log'));
  await here.shows(/Killed/);
  await gone(pid);

  using there = new Pty(dir);
  expect(there.path).not.toBe(here.path);
  there.type(`${stasisCommand().join(' ')} restore -D ${dir} --shell-job -o restore.log -v4\n`);
  await until(
    () => (there.foreground() === pid ? true : undefined),
    10_000,
    () => there.screen() + contentOf(join(dir, 'restore.log')),
  );
  there.type('one line\n');
  await says(dir, /LINE one line/, () => there.screen());
  there.type('\x03');
  await says(dir, /INTERRUPTED/, () => there.screen());
  appendFileSync(join(dir, 'ask'), 'ask\n');
  await says(dir, /PASS/, () => there.screen());
  await gone(pid);
  there.type('echo the shell $((40 + 2))\n');
  await there.shows(/the shell 42/);
}, 40_000);

test('without a terminal of our own there is nothing to move to', async () => {
  const dir = makeDir();
  using here = new Pty(dir);
  here.type(`${victimBinary('job')}\n`);
  const pid = Number((await says(dir, /READY (\d+)/, () => here.screen()))[1]);
  await stasisOk(['dump', '-t', String(pid), '-D', dir, '--shell-job', '-o', 'dump.log'], join(dir, 'dump.log'));
  await gone(pid);
  const refused = await stasis(['restore', '-d', '-D', dir, '--shell-job']);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toContain('standard input is no terminal');
  await gone(pid);
}, 40_000);

test('a bash script reads one file, writes another, and listens to its terminal', async () => {
  const dir = makeDir();
  const count = 80;
  writeFileSync(join(dir, 'in'), Array.from({ length: count }, (_, i) => `line ${i}\n`).join(''));
  // Waiting for the terminal is how a script sleeps without a child.
  const loop = 'while read -r a b <&3; do echo "$a $((b * b))" >>out; read -rt 0.01 _; done';
  writeFileSync(
    join(dir, 'job.sh'),
    `echo READY $$ >out\nexec 3<in\n${loop}\necho ASKING >>out\nread -r x\necho "GOT $x" >>out\n`,
  );
  let terminal = new Pty(dir);
  try {
    terminal.type('bash job.sh\n');
    const pid = Number((await says(dir, /READY (\d+)/, () => terminal.screen()))[1]);
    for (const line of [5, 20, 40]) {
      await says(dir, new RegExp(`line ${line * line}\n`), () => terminal.screen());
      // The line may have been written before the dump before this one: the restore has to be over, too.
      await until(
        () => /^Name:\tbash$[\s\S]*^TracerPid:\t0$/m.test(contentOf(`/proc/${pid}/status`)) || undefined,
        10_000,
        () => `task ${pid} is not restored; on the screen: ${terminal.screen()}`,
      );
      await stasisOk(['dump', '-t', String(pid), '-D', dir, '--shell-job', '-o', 'dump.log'], join(dir, 'dump.log'));
      await gone(pid);
      terminal[Symbol.dispose]();
      terminal = new Pty(dir);
      terminal.type(`${stasisCommand().join(' ')} restore -D ${dir} --shell-job -o restore.log -v4\n`);
    }
    await says(dir, /ASKING/, () => terminal.screen());
    terminal.type('an answer\n');
    await says(dir, /GOT an answer\n/, () => terminal.screen());
    const squares = Array.from({ length: count }, (_, i) => `line ${i * i}\n`).join('');
    expect(contentOf(join(dir, 'out'))).toBe(`READY ${pid}\n${squares}ASKING\nGOT an answer\n`);
    await gone(pid);
  } finally {
    terminal[Symbol.dispose]();
  }
}, 40_000);

/** Waits until a process group is in the foreground of a terminal. */
const comesToFront = (terminal: Pty, pgid: number, about: () => string): Promise<true> =>
  until(
    () => (terminal.foreground() === pgid ? true : undefined),
    10_000,
    () => `${terminal.foreground()} and not ${pgid} is in the foreground; ${about()}`,
  );

/** A number that a command has written into a file. */
const numberIn = (dir: string, name: string): Promise<number> =>
  until(
    () => Number(contentOf(join(dir, name))) || undefined,
    10_000,
    () => `nothing in ${name}`,
  );

/** Starts a program on a terminal, by the name `cat`, and waits until it is in front. */
async function startCat(terminal: Pty, dir: string, typed: string): Promise<number> {
  terminal.type(typed);
  await until(
    () => (/^cat$/m.test(contentOf(`/proc/${terminal.foreground()}/comm`)) ? true : undefined),
    10_000,
    () => `no cat in front: ${terminal.screen()} ${contentOf(join(dir, 'restore.log'))}`,
  );
  return terminal.foreground();
}

test('what a shell in the tree had started gets the keys again', async () => {
  const dir = makeDir();
  using here = new Pty(dir);
  here.type('bash --norc --noprofile -i\n');
  here.type('echo $$ >shell\n');
  const shell = await numberIn(dir, 'shell');
  const cat = await startCat(here, dir, 'cat >typed\n');
  await stasisOk(['dump', '-t', String(shell), '-D', dir, '--shell-job', '-o', 'dump.log'], join(dir, 'dump.log'));
  await Promise.all([gone(shell), gone(cat)]);

  using there = new Pty(dir);
  there.type(`${stasisCommand().join(' ')} restore -D ${dir} --shell-job -o restore.log -v4\n`);
  const about = (): string => there.screen() + contentOf(join(dir, 'restore.log'));
  await comesToFront(there, cat, about);
  there.type('a line\n');
  await until(() => contentOf(join(dir, 'typed')) === 'a line\n' || undefined, 10_000, about);
  there.type('\x03');
  await gone(cat);
  await comesToFront(there, shell, about);
  there.type('echo this shell is $(($$ + 0)), not another\n');
  await there.shows(new RegExp(`this shell is ${shell}, not another`));
  there.type('exit\n');
  await gone(shell);
  there.type('echo the first shell $((40 + 2))\n');
  await there.shows(/the first shell 42/);
}, 60_000);

test('a job that is restored in the background leaves the terminal to the shell', async () => {
  const dir = makeDir();
  using here = new Pty(dir);
  here.type('stty eol2 @\n');
  const cat = await startCat(here, dir, 'cat >typed\n');
  await stasisOk(['dump', '-t', String(cat), '-D', dir, '--shell-job', '-o', 'dump.log'], join(dir, 'dump.log'));
  await gone(cat);

  using there = new Pty(dir);
  there.type('stty -g >before; echo $$ >shell\n');
  const shell = await numberIn(dir, 'shell');
  there.type(`${stasisCommand().join(' ')} restore -D ${dir} --shell-job -o restore.log -v4 &\n`);
  const about = (): string => there.screen() + contentOf(join(dir, 'restore.log'));
  // It reads from the terminal, and is stopped for that as any job in the background is.
  await until(() => /\) T /.test(contentOf(`/proc/${cat}/stat`)) || undefined, 10_000, about);
  await comesToFront(there, shell, about);
  there.type('stty -g >after; echo still the shell $((40 + 2))\n');
  await there.shows(/still the shell 42/);
  expect(contentOf(join(dir, 'after'))).toBe(contentOf(join(dir, 'before')));
  there.type('fg\n');
  await comesToFront(there, cat, about);
  there.type('a line\n');
  await until(() => contentOf(join(dir, 'typed')) === 'a line\n' || undefined, 10_000, about);
  there.type('\x03');
  await gone(cat);
  await comesToFront(there, shell, about);
  there.type('echo the shell $((50 + 2)) again\n');
  await there.shows(/the shell 52 again/);
}, 60_000);

test('the foreground of a terminal inside the tree', async () => {
  const dir = makeDir();
  spawnSync('mkfifo', [join(dir, 'keys')]);
  const keys = openSync(join(dir, 'keys'), constants.O_RDWR);
  const out = openSync(join(dir, 'screen'), 'a');
  const args = ['script', '-q', '-f', '-c', 'exec bash --norc --noprofile -i', '/dev/null'];
  const env = { PATH: process.env.PATH, PS1: '$ ', TERM: 'dumb', HISTFILE: '/dev/null', SHELL: '/bin/sh' };
  const script = spawn('setsid', args, { cwd: dir, stdio: [keys, out, out], env });
  const root = script.pid ?? 0;
  scriptPid = root;
  script.on('exit', () => {
    scriptPid = 0;
  });
  try {
    const type = (text: string): void => void writeSync(keys, text);
    const screen = (): string => contentOf(join(dir, 'screen'));
    type('echo $$ >shell\n');
    const shell = await numberIn(dir, 'shell');
    type('cat >typed & echo $! >cat; fg\n');
    const cat = await numberIn(dir, 'cat');
    const front = (): number =>
      Number(
        contentOf(`/proc/${shell}/stat`)
          .replace(/^.*\) /, '')
          .split(' ')[5],
      );
    await until(
      () => front() === cat || undefined,
      10_000,
      () => `${front()} is in front; ${screen()}`,
    );

    await stasisOk(['dump', '-t', String(root), '-D', dir, '-o', 'dump.log'], join(dir, 'dump.log'));
    await Promise.all([gone(root), gone(shell), gone(cat)]);
    await stasisOk(['restore', '-d', '-D', dir, '-o', 'restore.log'], join(dir, 'restore.log'));
    expect(front()).toBe(cat);
    type('a line\n');
    await until(() => contentOf(join(dir, 'typed')) === 'a line\n' || undefined, 10_000, screen);
    type('\x03');
    await gone(cat);
    await until(() => front() === shell || undefined, 10_000, screen);
    type('exit\n');
    await gone(shell);
    await gone(root);
  } finally {
    closeSync(keys);
    closeSync(out);
    for (const pid of [root]) trySyscall('kill', pid, 9);
  }
}, 60_000);
