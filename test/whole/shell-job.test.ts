/** Jobs of a shell on a terminal: dumped on one terminal, restored on another (--shell-job). */
import { afterEach, expect, test } from 'bun:test';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { victimBinary } from './kit/compile.ts';
import { Pty } from './kit/pty.ts';
import { stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';

const dirs: string[] = [];

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
    () => (contentOf(`/proc/${pid}/stat`) === '' ? true : undefined),
    5000,
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
