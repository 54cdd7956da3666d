/**
 * npm start: the main job, for real. A program counts and holds a known block of memory; at 6 it is checkpointed, and
 * gone; from its images it is restored, and goes on with 7, under the same process ID.
 */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canCompile, installPackages, onPath } from './debian.mjs';
import { ensureInstalled, home, run } from './setup.mjs';

const MEBIBYTES = 64;
const CHECKPOINT_AT = 6;
const LAST = 10;

if (process.platform !== 'linux' || process.getuid?.() !== 0) {
  giveUp('the demo freezes and revives a process, which needs Linux and root', 'sudo npm start');
}
ensureInstalled();
const stasis = executable();
const dir = mkdtempSync(join(tmpdir(), 'stasis-demo-'));
const output = join(dir, 'output');
const images = join(dir, 'images');
mkdirSync(images);
let pid = 0;
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

await demo();

async function demo() {
  const { command, about } = counter();
  const out = openSync(output, 'a');
  const child = spawn(command[0], command.slice(1), { cwd: dir, detached: true, stdio: ['ignore', out, out] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  pid = child.pid;
  say(
    `A program (${about}) counts once a second. It holds ${MEBIBYTES} MiB of known data and checks them at every step.`,
  );
  await follow(1, CHECKPOINT_AT);

  say(`At ${CHECKPOINT_AT} it is checkpointed:  stasis dump -t ${pid} -D ${images}`);
  const dumped = timed(['dump', '-t', String(pid), '-D', images, '-o', 'dump.log', '-v4'], 'dump.log');
  await ended;
  const saved = statistics('stats-dump').dump;
  say(
    `It was frozen for ${ms(saved.frozen_time / 1000)}; the whole dump took ${ms(dumped)}; its images are ${size(images)}.`,
    `Process ${pid} is gone: /proc/${pid} ${existsSync(`/proc/${pid}`) ? 'is still there!' : 'does not exist'}.`,
  );

  say('What the image of the process tree says:  crit show pstree.img');
  console.log(stasisSays(['crit', 'show', join(images, 'pstree.img')]).trim());

  say(`Now it is restored:  stasis restore -D ${images} -d`);
  const restored = timed(['restore', '-D', images, '-d', '-o', 'restore.log', '-v4'], 'restore.log');
  say(`That took ${ms(restored)}. Process ${pid} is back: ${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()}.`);
  await follow(CHECKPOINT_AT + 1, LAST);
  await line((text) => /^done$/m.test(text), 'the program did not end well');
  say(
    `It went on where it was, with the process ID it had, and found its memory unharmed at every step.`,
    `frozen ${ms(saved.frozen_time / 1000)} · images ${size(images)} · dump ${ms(dumped)} · restore ${ms(restored)}`,
  );
}

/** The program: compiled where there is a compiler, else the same in Python. */
function counter() {
  const args = [String(MEBIBYTES), '1000', String(LAST)];
  if (canCompile()) {
    const binary = join(dir, 'eatmem');
    const source = join(home, 'test/victims/eatmem.c');
    if (run('gcc', ['-O2', '-o', binary, source])) return { command: [binary, ...args], about: 'in C' };
  }
  if (!onPath('python3') && !installPackages(['python3'])) giveUp('neither gcc nor python3 is there');
  return { command: ['python3', join(home, 'test/victims/eatmem.py'), ...args], about: 'in Python' };
}

/** Shows the numbers the program prints, from `first` to `last`. */
async function follow(first, last) {
  for (let count = first; count <= last; count++) {
    await line((text) => new RegExp(`^${count}$`, 'm').test(text), `the program never came to ${count}`);
    console.log(`  ${count}`);
  }
}

/** Waits until the output of the program is as it should be. */
async function line(fits, complaint) {
  for (let waited = 0; !fits(readFileSync(output, 'utf8')); waited += 10) {
    if (waited > 15_000) giveUp(`${complaint}; its output: ${JSON.stringify(readFileSync(output, 'utf8'))}`);
    await sleep(10);
  }
}

/** Runs Stasis and returns its wall time in milliseconds. */
function timed(args, log) {
  const began = performance.now();
  stasisSays(args, join(images, log));
  return performance.now() - began;
}

/** Runs Stasis and returns what it prints. */
function stasisSays(args, log) {
  const { status, stdout, stderr } = spawnSync(stasis, args, { encoding: 'utf8' });
  if (status !== 0) {
    if (log && existsSync(log)) console.error(readFileSync(log, 'utf8').split('\n').slice(-15).join('\n'));
    giveUp(`stasis ${args[0]} failed: ${stderr.trim()}`);
  }
  return stdout;
}

function statistics(name) {
  return JSON.parse(stasisSays(['crit', 'decode', '-i', join(images, name)])).entries[0];
}

/** The built executable; built first if it is missing or older than the source. */
function executable() {
  const built = join(home, 'dist/stasis');
  const age = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = readdirSync(join(home, 'src'), { recursive: true });
  if (sources.some((file) => statSync(join(home, 'src', file)).mtimeMs > age)) {
    if (!run(process.execPath, [join(home, 'scripts/build.mjs')])) process.exit(1);
  }
  return built;
}

/** Lines of the story. */
function say(...lines) {
  console.log(`\n${lines.join('\n')}`);
}

function ms(value) {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function size(folder) {
  const bytes = readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function giveUp(reason, remedy) {
  console.error(`Error: ${reason}`);
  if (remedy) console.error(`Hint: ${remedy}`);
  process.exit(1);
}

/** Ends the program, if it is still ours, and removes the folder. */
function cleanUp() {
  try {
    if (pid > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('eatmem')) process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
  rmSync(dir, { recursive: true, force: true });
}
