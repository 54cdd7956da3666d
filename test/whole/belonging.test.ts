/**
 * Sessions and process groups that reach out of the tree, or into it: a restore needs their numbers, and cannot have
 * them while somebody else is in them. What cannot be made again is refused before anything is touched.
 */
import { afterEach, expect, test } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { syscall, trySyscall } from '../../src/kernel/syscall.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { statOf } from './kit/tree.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;
// Orphans become ours, so that their process IDs are free as soon as they have ended.
trySyscall('prctl', PR_SET_CHILD_SUBREAPER, 1);

const dirs: string[] = [];
const pids = new Set<number>();
const children: ChildProcess[] = [];

afterEach(async () => {
  // All of them at first: some wait for others.
  for (const pid of pids) trySyscall('kill', pid, 9);
  const sessions = children.map(({ pid }) => pid);
  for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    if (sessions.includes(statOf(Number(name))?.session)) trySyscall('kill', Number(name), 9);
  }
  for (const pid of pids) await gone(pid);
  children.length = 0;
  pids.clear();
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
}, 60_000);

/** Runs a script in a session of its own; `NAME` in the answer is what it wrote into the file of that name. */
async function start(script: string, ...names: string[]): Promise<{ dir: string; pid: number; numbers: number[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'stasis-belonging-'));
  dirs.push(dir);
  const child = spawn('bash', ['-c', script], { cwd: dir, detached: true, stdio: ['ignore', 'ignore', 'ignore'] });
  children.push(child);
  const numbers: number[] = [];
  for (const name of names) numbers.push(await numberIn(dir, name));
  for (const pid of [...numbers, child.pid ?? 0]) pids.add(pid);
  await sleep(200); // those who execute another program have done so
  return { dir, pid: child.pid ?? 0, numbers };
}

function numberIn(dir: string, name: string): Promise<number> {
  return until(
    () => {
      const read = readdirSync(dir).includes(name) ? Number(readFileSync(join(dir, name), 'utf8').trim()) : 0;
      return read > 0 ? read : undefined;
    },
    10_000,
    () => `nothing in ${name}`,
  );
}

/** Ends a process, and waits until its process ID is nobody's. */
async function end(pid: number): Promise<void> {
  trySyscall('kill', pid, 9);
  await gone(pid);
}

function gone(pid: number): Promise<true> {
  // The runtime waits for what it has started itself.
  const isRunning = (child: ChildProcess): boolean =>
    child.pid === pid && child.exitCode === null && child.signalCode === null;
  return until(
    () => {
      if (!children.some(isRunning)) trySyscall('wait4', pid, 0, WNOHANG, 0);
      return statOf(pid) ? undefined : true;
    },
    10_000,
    () => `process ${pid} is still there: ${statOf(pid)?.state}, a child of ${statOf(pid)?.ppid}`,
  );
}

const runs = (pid: number): boolean => ['S', 'R'].includes(statOf(pid)?.state ?? '');

/** Refused by the dump and by `check -t`, with the same words; nobody has been touched. */
async function expectRefused(
  pid: number,
  dir: string,
  words: readonly string[],
  options: string[] = [],
): Promise<void> {
  const tree = ['-t', String(pid), ...options];
  const checked = await stasis(['check', ...tree]);
  const dumped = await stasis(['dump', ...tree, '-D', dir]);
  expect([checked.status, dumped.status]).toEqual([1, 1]);
  for (const word of words) {
    expect(checked.stdout + checked.stderr).toContain(word);
    expect(dumped.stderr).toContain(word);
  }
  expect(runs(pid)).toBe(true);
  expect(readdirSync(dir).filter((name) => name.endsWith('.img'))).toEqual([]);
}

const dump = (pid: number, dir: string, ...options: string[]) =>
  stasisOk(['dump', '-t', String(pid), '-D', dir, '-o', 'dump.log', ...options], join(dir, 'dump.log'));

const restore = (dir: string, ...options: string[]) =>
  stasisOk(['restore', '-d', '-D', dir, '-o', 'restore.log', ...options], join(dir, 'restore.log'));

test('somebody who has left the tree is still in its session', async () => {
  const { dir, pid, numbers } = await start('(sleep 600 & echo $! >other); exec sleep 601', 'other');
  const [other = 0] = numbers;
  expect(statOf(other)?.session).toBe(pid);
  await expectRefused(pid, dir, [`session ${pid}`, `task ${other} (sleep)`, '--leave-running']);

  // What goes on needs no new process ID. Where it is told how things stand it may be saved.
  const saved = await dump(pid, dir, '--leave-running');
  expect(saved.stderr).toContain(`task ${other} (sleep)`);
  await end(pid);
  const refused = await stasis(['restore', '-d', '-D', dir]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`PID ${pid}: the PID the saved process had is in use as the number of a session`);
  expect(refused.stderr).toContain(`task ${other} (sleep) is in it`);
  await end(other);
  await restore(dir);
  expect(statOf(pid)?.session).toBe(pid);
}, 120_000);

test('a member has stayed in the session of somebody outside', async () => {
  const script = '(sleep 600 & echo $! >kid; echo $BASHPID >root; exec setsid sleep 601) & sleep 602; :';
  const { dir, pid: shell, numbers } = await start(script, 'kid', 'root');
  const [kid = 0, root = 0] = numbers;
  expect([statOf(kid)?.session, statOf(root)?.session]).toEqual([shell, root]);
  await expectRefused(root, dir, [`session ${shell}`, `task ${shell} (bash)`, '--shell-job']);

  await dump(root, dir, '--shell-job');
  await Promise.all([gone(root), gone(kid)]);
  const refused = await stasis(['restore', '-d', '-D', dir]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(
    `PID ${shell}: the PID the saved process had is in use: task ${shell} (bash) has it`,
  );
  expect(refused.stderr).toContain('--shell-job');
  expect(statOf(root)).toBeUndefined();

  await restore(dir, '--shell-job');
  const ours = [syscall('getpgid', 0), syscall('getsid', 0)];
  expect([statOf(root)?.session, statOf(root)?.pgrp]).toEqual([root, root]);
  expect([statOf(kid)?.pgrp, statOf(kid)?.session, statOf(kid)?.ppid]).toEqual([...ours, root]);

  // With those outside gone, its session can be made again.
  await dump(root, dir, '--shell-job');
  await Promise.all([gone(root), gone(kid)]);
}, 120_000);

test('a session whose others are gone at the restore is made again', async () => {
  const script = '(sleep 600 & echo $! >kid; echo $BASHPID >root; exec setsid sleep 601) & wait';
  const { dir, pid: shell, numbers } = await start(script, 'kid', 'root');
  const [kid = 0, root = 0] = numbers;
  await dump(root, dir, '--shell-job');
  await Promise.all([gone(root), gone(kid)]);
  await until(
    () => (statOf(shell) ? undefined : true),
    10_000,
    () => 'the shell still waits',
  );
  await restore(dir);
  expect([statOf(kid)?.pgrp, statOf(kid)?.session, statOf(kid)?.ppid]).toEqual([shell, shell, root]);
}, 120_000);

test('somebody outside is in a group of the tree, but not because it reads from it', async () => {
  const other601 = 'until pgrep -P $$ -f "^sleep 601" >other; do sleep 0.05; done';
  const script = `set -m; sleep 600 | sleep 601 </dev/null & jobs -p >root; ${other601}; sleep 602`;
  const { dir, numbers } = await start(script, 'root', 'other');
  const [root = 0, other = 0] = numbers;
  expect([statOf(other)?.pgrp, statOf(root)?.pgrp]).toEqual([root, root]);
  await expectRefused(
    root,
    dir,
    [`process group ${root}`, `task ${other} (sleep)`, '--leave-running'],
    ['--shell-job'],
  );
}, 120_000);

test('what reads from the tree ends with it', async () => {
  const cat = 'until pgrep -P $$ -x cat >other; do sleep 0.05; done';
  const script = `set -m; sleep 600 | cat >log & jobs -p >root; ${cat}; sleep 602; :`;
  const { dir, numbers } = await start(script, 'root', 'other');
  const [root = 0, other = 0] = numbers;
  expect(statOf(other)?.pgrp).toBe(root);
  const saved = await dump(root, dir, '--shell-job');
  expect(saved.stderr).toContain(`task ${other} (cat)`);
  await gone(root);
  await gone(other);
  await restore(dir, '--shell-job');
  expect(statOf(root)?.pgrp).toBe(root);
}, 120_000);

test('a tree that makes processes all the time is no stranger to itself', async () => {
  const { dir, pid } = await start('while :; do /bin/true; done');
  for (let i = 0; i < 5; i++) await stasisOk(['check', '-t', String(pid)], join(dir, 'none'));
}, 120_000);

test('a process ID is kept by a zombie nobody waits for', async () => {
  const { dir, numbers } = await start('setsid sleep 600 & echo $! >root; exec sleep 601', 'root');
  const [root = 0] = numbers;
  const parent = statOf(root)?.ppid ?? 0;
  await dump(root, dir);
  const refused = await stasis(['restore', '-d', '-D', dir]);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`task ${root} (sleep) has ended, and task ${parent} (sleep) has not waited for it`);
  await end(parent);
  await gone(root);
  await restore(dir);
  expect(statOf(root)?.session).toBe(root);
}, 120_000);

test('a tree no planner can make again is refused while it runs', async () => {
  using victim = await Victim.start('estranged', []);
  const checked = await stasis(['check', '-t', String(victim.pid)]);
  expect(checked.status).toBe(1);
  expect(checked.stdout + checked.stderr).toContain('clone flags: it shares its memory with task');
  await victim.verdict();
}, 120_000);
