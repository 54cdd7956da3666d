/**
 * `npm run demo:vnc -- [FOLDER]`: a desktop is frozen, is gone, and comes back. Xvnc, icewm, xterm and a shell in which
 * a loop counts run in PID and IPC namespaces of their own; a viewer is connected all the time. The screen is
 * photographed before and after and must show the same windows; the loop counts on, what is typed arrives, and the
 * window manager answers the mouse. With FOLDER the pictures stay there.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installPackages, onPath } from './debian.mjs';
import { cleanups, runScript } from './main.mjs';
import { png } from './screen/png.mjs';
import { Viewer } from './screen/viewer.mjs';
import { home, run } from './setup.mjs';

const PROGRAMS = {
  Xvnc: ['tigervnc-standalone-server', 'x11-xkb-utils'],
  icewm: ['icewm'],
  xterm: ['xterm', 'xfonts-base'],
};
const OPTIONS = ['--tcp-established', '--ext-unix-sk', '--file-locks'];
/** Where the terminal is on the screen, in pixels: the loop prints there. */
const TERMINAL = { left: 20, top: 20, right: 560, bottom: 420 };

/** Waits until `found` returns something, for so many seconds. */
async function until(seconds, what, found) {
  for (let turn = 0; turn < seconds * 20; turn++) {
    const result = await found();
    if (result !== undefined && result !== false) return result;
    await sleep(50);
  }
  throw new Error(`waited ${seconds} s in vain: ${what}`);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function freeDisplay() {
  for (let number = 40; number < 200; number++) {
    if (!existsSync(`/tmp/.X${number}-lock`) && !existsSync(`/tmp/.X11-unix/X${number}`)) return number;
  }
  throw new Error('all displays are in use');
}

function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
}

const treeOf = (pid) => [pid, ...childrenOf(pid).flatMap(treeOf)];
const isThere = (pid) => existsSync(`/proc/${pid}`);

/** Prints a process and what is below it, with their numbers here and in their namespace. */
function show(pid, depth = 0) {
  const numbers = /^NSpid:\t(.*)$/m
    .exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
    .split('\t')
    .join(' = ');
  const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').filter(Boolean).join(' ');
  console.log(`  ${'  '.repeat(depth)}${depth > 0 ? '└─' : ''}${words.slice(0, 60)}  (${numbers})`);
  for (const child of childrenOf(pid)) show(child, depth + 1);
}

/** What runs on the desktop. */
function writeScripts(dir, display, port) {
  mkdirSync(join(dir, '.icewm'));
  // What changes by itself would be no difference that the restore has made.
  const still = ['Clock', 'CPUStatus', 'NetStatus', 'MEMStatus'].map((part) => `TaskBarShow${part}=0\n`);
  writeFileSync(join(dir, '.icewm/preferences'), still.join(''));
  const loop = 'i=0; while :; do i=$((i+1)); echo "count $i"; echo $i >count; sleep 1; done\n';
  writeFileSync(join(dir, 'loop.sh'), loop);
  writeFileSync(join(dir, 'shell.rc'), "PS1='$ '; sh loop.sh &\n");
  const server = `Xvnc :${display} -rfbport ${port} -localhost -SecurityTypes None -geometry 800x600 -depth 24 -nolisten tcp`;
  const lines = [
    '#!/bin/bash',
    `cd ${dir}; export HOME=${dir} DISPLAY=:${display}`,
    `${server} >xvnc.log 2>&1 &`,
    `until [ -S /tmp/.X11-unix/X${display} ]; do sleep 0.1; done`,
    'icewm >icewm.log 2>&1 &',
    'xterm -geometry 80x24+20+20 -e bash --rcfile shell.rc -i &',
    'while :; do wait -n; [ $? = 127 ] && exec sleep infinity; done',
  ];
  writeFileSync(join(dir, 'vnc_server.sh'), `${lines.join('\n')}\n`, { mode: 0o755 });
}

/** Starts the desktop. Returns the process that is the init of its namespaces. */
async function startDesktop(dir, display) {
  const command = ['--pid', '--ipc', '--fork', 'setsid', join(dir, 'vnc_server.sh')];
  const outer = spawn('unshare', command, { stdio: 'ignore', detached: true });
  const files = [`/tmp/.X${display}-lock`, `/tmp/.X11-unix/X${display}`];
  cleanups.push(() => {
    for (const file of files) rmSync(file, { force: true });
  });
  return until(5, 'the desktop does not start', () => childrenOf(outer.pid)[0]);
}

function stasis(...args) {
  const began = performance.now();
  const { status, stderr } = spawnSync(join(home, 'dist/stasis'), args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`stasis ${args[0]} failed: ${stderr}`);
  return Math.round(performance.now() - began);
}

/** How many pixels differ, in the terminal and elsewhere. */
function differences(a, b, width) {
  const count = { terminal: 0, elsewhere: 0 };
  for (let i = 0; i < a.length; i += 3) {
    if (a[i] === b[i] && a[i + 1] === b[i + 1] && a[i + 2] === b[i + 2]) continue;
    const [x, y] = [(i / 3) % width, Math.floor(i / 3 / width)];
    const inside = x >= TERMINAL.left && x < TERMINAL.right && y >= TERMINAL.top && y < TERMINAL.bottom;
    count[inside ? 'terminal' : 'elsewhere']++;
  }
  return count;
}

function verify(what, isRight) {
  console.log(`  ${isRight ? 'yes' : 'NO'}: ${what}`);
  if (!isRight) process.exitCode = 1;
}

async function main() {
  const missing = Object.entries(PROGRAMS).flatMap(([program, packages]) => (onPath(program) ? [] : packages));
  if (!installPackages(missing)) throw new Error(`could not install ${missing.join(', ')}`);
  if (!existsSync(join(home, 'dist/stasis')) && !run('npm', ['run', 'build'])) throw new Error('npm run build failed');
  const dir = mkdtempSync(join(tmpdir(), 'stasis-vnc-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  const images = join(dir, 'images');
  mkdirSync(images);
  const [display, port] = [freeDisplay(), await freePort()];
  writeScripts(dir, display, port);
  const count = () => Number(readFileSync(join(dir, 'count'), 'utf8'));

  let root = await startDesktop(dir, display);
  cleanups.push(() => isThere(root) && process.kill(root, 'SIGKILL')); // an init takes its namespace with it
  await until(30, 'the loop does not count', () => existsSync(join(dir, 'count')));
  const viewer = await until(10, 'no viewer can connect', () => Viewer.connect(port).catch(() => undefined));
  cleanups.push(() => viewer.close());
  await sleep(2000);
  console.log('1. A desktop in PID and IPC namespaces of its own, with a viewer:');
  show(root);
  viewer.type('echo typed before\n');
  await sleep(500);
  const before = await viewer.picture();
  const counted = count();

  console.log('2. It is dumped.');
  const pids = treeOf(root);
  const dumped = stasis('dump', '-t', String(root), '-D', images, ...OPTIONS);
  await until(10, 'processes are still there', () => !pids.some(isThere));
  console.log(`  ${pids.length} processes in ${dumped} ms; they are gone, at count ${counted}, and the viewer waits`);
  await sleep(2000);

  console.log('3. It is restored.');
  const pidfile = join(images, 'pid');
  const restored = stasis('restore', '-d', '-D', images, '--pidfile', pidfile, ...OPTIONS);
  root = Number(readFileSync(pidfile, 'utf8'));
  console.log(`  in ${restored} ms:`);
  show(root);
  const after = await viewer.picture();
  const { terminal, elsewhere } = differences(before, after, viewer.width);
  verify(
    `the screen shows the same windows (${terminal} pixels differ in the terminal, ${elsewhere} elsewhere)`,
    elsewhere === 0,
  );
  await until(10, 'the loop does not go on', () => count() > counted + 1);
  verify(`the loop counts on: ${counted}, ${count()}`, count() < counted + 20);
  viewer.type('echo typed after >typed\n');
  await until(10, 'what is typed does not arrive', () => existsSync(join(dir, 'typed')));
  verify('what is typed arrives in the shell', readFileSync(join(dir, 'typed'), 'utf8') === 'typed after\n');
  viewer.click(20, viewer.height - 10);
  const menu = await until(10, 'the window manager does not answer', async () => {
    const now = await viewer.picture();
    return differences(after, now, viewer.width).elsewhere > 1000 ? now : undefined;
  });
  verify('the window manager answers the mouse with its menu', menu !== undefined);
  const folder = process.argv[2];
  if (folder === undefined) return;
  mkdirSync(folder, { recursive: true });
  for (const [name, picture] of Object.entries({ before, after, menu })) {
    writeFileSync(join(folder, `${name}.png`), png(viewer.width, viewer.height, picture));
  }
  console.log(`The pictures are in ${folder}.`);
}

runScript(main);
