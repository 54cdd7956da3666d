/** One container of runc: made, run, checkpointed, restored and looked at with runc alone, as its users do. */

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
/** Milliseconds that one call of runc may take. */
const LIMIT = 60_000;

/** What every container runs: it comes back only if its memory does. */
export const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i >/data/count; sleep 0.05; done';

export class Container {
  /**
   * @param place the folder of all containers, with `bin/criu` and a root file system, `rootfs`
   * @param name of the container; it must be unique on this machine
   */
  constructor(place, name) {
    this.name = `stasis-proof-${process.pid}-${name}`;
    this.place = place;
    this.bundle = join(place, name);
    this.data = join(this.bundle, 'rootfs', 'data');
    this.images = join(this.bundle, 'images');
    this.work = join(this.bundle, 'work');
    mkdirSync(this.bundle);
    must('cp', ['-a', join(place, 'rootfs'), this.bundle]);
    for (const folder of [this.images, this.work]) mkdirSync(folder);
    must('runc', ['spec'], { cwd: this.bundle });
    this.edit((config) => {
      config.process.terminal = false;
      config.root.readonly = false;
      this.program(config, '');
    });
  }

  /** What the container does besides counting: commands of a shell that come before. */
  program(config, before) {
    config.process.args = ['/bin/sh', '-c', `${before}${before && '\n'}${COUNTER}`];
  }

  /** Changes its configuration. */
  edit(change) {
    const path = join(this.bundle, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8'));
    change(config);
    writeFileSync(path, JSON.stringify(config, null, 2));
  }

  /** Keeps its terminal, as `docker run -t` does. */
  async keepTerminal() {
    const [socket, output] = [join(this.bundle, 'console'), join(this.bundle, 'shown')];
    this.holder = spawn('python3', [join(here, 'terminal-holder.py'), socket, output], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve, reject) => {
      this.holder.stdout.once('data', resolve);
      this.holder.once('exit', () => reject(new Error('the holder of the terminal has ended')));
    });
    this.terminal = ['--console-socket', socket];
    this.edit((config) => {
      config.process.terminal = true;
    });
  }

  /** What was shown on the terminal. */
  shown() {
    const path = join(this.bundle, 'shown');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** What every call of runc begins with, and where that finds criu. */
  get options() {
    return ['--root', join(this.place, 'state')];
  }

  get environment() {
    return { ...process.env, PATH: `${join(this.place, 'bin')}:${process.env.PATH}` };
  }

  /** Calls runc, whose own log and that of criu are told if it fails. Returns what it says. */
  runc(args, stdio = ['ignore', 'pipe', 'pipe']) {
    const line = [...this.options, ...args];
    const done = spawnSync('runc', line, {
      env: this.environment,
      stdio,
      encoding: 'utf8',
      timeout: LIMIT,
      killSignal: 'SIGKILL',
    });
    if (done.status === 0) return done.stdout ?? '';
    const log = ['dump.log', 'restore.log'].map((name) => join(this.work, name)).filter(existsSync);
    const errors = log.flatMap((path) =>
      readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => /Error|Warn/.test(line)),
    );
    throw new Error(
      `runc ${args.join(' ')}: ${done.signal ?? done.status}\n${done.stderr ?? ''}${errors.slice(-6).join('\n')}`,
    );
  }

  run() {
    // Not pipes of ours: the container would keep them, and we wait for them to be closed.
    this.runc(['run', '-d', ...(this.terminal ?? []), '--bundle', this.bundle, this.name], 'ignore');
    this.waitFor(() => this.count() > 3, 'the container does not count');
  }

  checkpointLine(...options) {
    return ['checkpoint', '--image-path', this.images, '--work-path', this.work, ...options, this.name];
  }

  restoreLine(...options) {
    const paths = ['--bundle', this.bundle, '--image-path', this.images, '--work-path', this.work];
    return ['restore', '-d', ...(this.terminal ?? []), ...paths, ...options, this.name];
  }

  checkpoint(...options) {
    const began = performance.now();
    this.runc(this.checkpointLine(...options));
    this.took = { ...this.took, checkpoint: performance.now() - began };
    this.before = this.count();
  }

  restore(...options) {
    const began = performance.now();
    this.runc(this.restoreLine(...options), 'ignore');
    this.took = { ...this.took, restore: performance.now() - began };
  }

  /** Runs a command inside. Returns what it prints. */
  exec(...command) {
    return this.runc(['exec', this.name, ...command]);
  }

  /** Checks that it goes on from where it was. */
  goesOn() {
    const now = () => this.count();
    this.waitFor(() => now() > this.before + 3, `the counter was ${this.before} and is ${now()}`);
    const { status } = JSON.parse(this.runc(['state', this.name]));
    if (status !== 'running') throw new Error(`runc says that it is ${status}`);
  }

  /** How far it has counted; the file is empty while it is written. */
  count() {
    const path = join(this.data, 'count');
    for (let attempt = 0; attempt < 20; attempt++) {
      const text = existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
      if (text !== '') return Number(text);
      pause(5);
    }
    return 0;
  }

  waitFor(isSo, complaint) {
    for (const end = performance.now() + 10_000; !isSo(); pause(20)) {
      if (performance.now() > end) throw new Error(complaint);
    }
  }

  /** On a busy machine runc gives up before the last process has left, and leaves its cgroups. */
  removeCgroups() {
    const left = () =>
      cgroupFolders()
        .map((folder) => join(folder, this.name))
        .filter((path) => existsSync(path));
    for (const end = performance.now() + 5000; performance.now() < end; pause(20)) {
      const folders = left();
      if (folders.length === 0) return;
      for (const folder of folders) spawnSync('rmdir', [folder], { stdio: 'ignore' });
    }
  }

  /** Ends it and removes what is left of it. */
  end() {
    this.holder?.kill();
    spawnSync('runc', [...this.options, 'delete', '--force', this.name]);
    this.removeCgroups();
    rmSync(this.bundle, { recursive: true, force: true });
  }
}

/** Makes the folder of all containers: a root file system for each to copy, and `criu`. Whoever calls removes it. */
export function makePlace(criu) {
  const place = mkdtempSync(join(tmpdir(), 'stasis-engines-'));
  chmodSync(place, 0o755); // users of a container pass through it
  mkdirSync(join(place, 'bin'));
  symlinkSync(criu, join(place, 'bin/criu'));
  makeRootFileSystem(join(place, 'rootfs'));
  return place;
}

/** A root file system with nothing but busybox. */
function makeRootFileSystem(path) {
  for (const name of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'root', 'run', 'data', 'vol']) {
    mkdirSync(join(path, name), { recursive: true });
  }
  must('cp', ['/bin/busybox', join(path, 'bin')]);
  must('chroot', [path, '/bin/busybox', '--install', '-s', '/bin']);
  writeFileSync(join(path, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(path, 'etc/hostname'), '');
}

/** Where the hierarchies of cgroups are: one of version 2, or one for each controller. */
function cgroupFolders() {
  const top = '/sys/fs/cgroup';
  const below = readdirSync(top, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [top, ...below.map(({ name }) => join(top, name))];
}

/** Runs a program that must succeed. Returns what it prints. */
export function must(program, args, options = {}) {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: LIMIT, ...options });
  if (done.status === 0) return done.stdout;
  throw new Error(`${program} ${args.join(' ')}: ${done.error?.message ?? done.stderr}`);
}

export function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
