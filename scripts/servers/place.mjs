/** The place where one server lives during a proof: a folder, its processes, its clients, and its dumps. */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { home } from '../setup.mjs';
import { client, dial } from './dialogue.mjs';

const STASIS = join(home, 'dist/stasis');
const OPTIONS = ['--tcp-established', '--ext-unix-sk', '--file-locks'];

export class Place {
  #cleanups = [];
  /** The root of the server's tree. */
  root;
  times = { dump: [], restore: [] };
  /** What Stasis has warned of. */
  warnings = [];
  processes = 0;
  threads = 0;

  constructor(name) {
    this.dir = mkdtempSync(join(tmpdir(), `stasis-proof-${name}-`));
    spawnSync('chmod', ['755', this.dir]);
  }

  path(...names) {
    return join(this.dir, ...names);
  }

  /** Writes a file, and returns its path. */
  file(name, text, mode = 0o644) {
    const path = this.path(name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  }

  folder(name, user) {
    const path = this.path(name);
    mkdirSync(path, { recursive: true });
    if (user) this.must('chown', `${user}:`, path);
    return path;
  }

  must(command, ...args) {
    const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', cwd: this.dir });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr + stdout}`);
    return stdout;
  }

  atEnd(work) {
    this.#cleanups.push(work);
  }

  /** Starts the server: in a session of its own, with /dev/null to read and a log to write. */
  start(command, args, env = {}) {
    const log = openSync(this.path('server.log'), 'a');
    const child = spawn(command, args, {
      stdio: ['ignore', log, log],
      cwd: this.dir,
      detached: true,
      env: { ...process.env, LC_ALL: 'C', ...env },
    });
    this.root = child.pid;
  }

  /** The command line that runs a program as another user. */
  as(user, command, ...args) {
    const group = this.must('id', '-g', user).trim();
    return ['setpriv', ['--reuid', user, '--regid', group, '--init-groups', command, ...args]];
  }

  async listens(port) {
    for (let turn = 0; turn < 600; turn++) {
      const isOpen = await new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1');
        socket.once('connect', () => socket.destroy(resolve(true))).once('error', () => resolve(false));
      });
      if (isOpen) return;
      if (!existsSync(`/proc/${this.root}`)) throw new Error(`the server has ended: ${this.log()}`);
      await sleep(100);
    }
    throw new Error('the server does not come to listen');
  }

  /** A client program outside of the tree, which is ended with the place. */
  client(name, command, args, options) {
    const dialogue = client(name, command, args, options);
    this.atEnd(() => dialogue.child.kill('SIGKILL'));
    return dialogue;
  }

  async dial(name, where) {
    const dialogue = await dial(name, where);
    this.atEnd(() => dialogue.socket.destroy());
    return dialogue;
  }

  log() {
    const path = this.path('server.log');
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }

  /** Dumps the tree, waits until it is gone, and for a moment longer, and restores it. */
  async cycle(options = []) {
    const tree = treeOf(this.root);
    this.noteSize(tree);
    const images = mkdtempSync(join(this.dir, 'images-'));
    this.times.dump.push(await this.#dump('-t', `${this.root}`, '-D', images, ...OPTIONS, ...options));
    await gone(tree);
    await sleep(50 + 200 * Math.random());
    this.times.restore.push(this.#stasis('restore', '-d', '-D', images, ...OPTIONS, ...options));
    if (!existsSync(`/proc/${this.root}`)) throw new Error(`process ${this.root} is not there after the restore`);
    rmSync(images, { recursive: true });
  }

  noteSize(tree) {
    this.processes = tree.length;
    this.threads = tree.reduce((sum, pid) => sum + threadsOf(pid), 0);
  }

  /** Dumps the tree. While the server still has to accept a connection, that is refused: it is done a little later. */
  async #dump(...args) {
    for (let turn = 1; ; turn++) {
      try {
        return this.#stasis('dump', ...args);
      } catch (error) {
        if (turn === 10 || !error.message.includes('to be accepted')) throw error;
        await sleep(300);
      }
    }
  }

  /** Runs Stasis. What it warns of, it says of something that is not carried as it was: that is kept. */
  #stasis(...args) {
    const began = performance.now();
    const { status, signal, stderr } = spawnSync(STASIS, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`stasis ${args[0]} ended with ${signal ?? status}: ${stderr}`);
    this.warnings.push(...stderr.split('\n').filter(Boolean));
    return performance.now() - began;
  }

  /** What stands in the way of a dump without further options, as Stasis tells it; empty if nothing does. */
  check() {
    const { status, stdout } = spawnSync(STASIS, ['check', '-t', `${this.root}`, ...OPTIONS], { encoding: 'utf8' });
    return status === 0 ? '' : stdout;
  }

  /** Ends the server as its administrator would. @throws Error if it does not end */
  async stop(signal = 'SIGTERM') {
    const tree = treeOf(this.root);
    process.kill(this.root, signal);
    await gone(tree);
    this.root = undefined;
  }

  /** Ends all processes and removes the folder, unless it is to be kept. */
  clean({ keep }) {
    if (this.root !== undefined) for (const pid of treeOf(this.root)) tryKill(pid);
    for (const work of this.#cleanups.splice(0).reverse()) work();
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A port of 127.0.0.1 that nobody has, of TCP. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A process and all below it. */
export function treeOf(pid) {
  const found = [pid];
  for (const parent of found) {
    for (const thread of list(`/proc/${parent}/task`)) {
      const path = `/proc/${parent}/task/${thread}/children`;
      found.push(...read(path).split(' ').filter(Boolean).map(Number));
    }
  }
  return found;
}

const threadsOf = (pid) => list(`/proc/${pid}/task`).length;

function list(path) {
  try {
    return readdirSync(path);
  } catch {
    return []; // It has ended.
  }
}

function read(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Waits until processes are gone: whoever is their parent may take a while to reap them. */
export async function gone(pids) {
  for (let turn = 0; turn < 1500; turn++) {
    if (!pids.some((pid) => existsSync(`/proc/${pid}`))) return;
    await sleep(20);
  }
  throw new Error(`processes ${pids.filter((pid) => existsSync(`/proc/${pid}`)).join(', ')} are still there`);
}

function tryKill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
