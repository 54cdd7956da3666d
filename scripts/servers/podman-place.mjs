/**
 * The place of a server that runs in a container of Debian's Podman, with runc and a `criu` in its path that is Stasis.
 * Nothing of Podman, of its configuration or of runc is changed. The container has the network of the machine, so that
 * clients find the server where they find it without one; its own PID, mount, IPC, UTS and cgroup namespaces, Podman's
 * seccomp filter and Podman's capabilities.
 *
 * Its root file system is one of this machine's: what Debian's packages have installed, so that no image is needed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { home } from '../setup.mjs';
import { gone, Place, treeOf } from './place.mjs';

/** Milliseconds that one call of Podman may take. */
const LIMIT = 120_000;
const OPTIONS = ['--keep', '--tcp-established', '--file-locks'];
const IMAGE = 'stasis-proof/machine';
/** What of this machine is in the image, without /usr, which the container has read-only from the machine. */
const PARTS = ['bin', 'sbin', 'lib', 'lib64', 'etc', 'srv', 'var'];
const LEFT_OUT = ['var/cache', 'var/lib/apt', 'var/lib/dpkg', 'var/lib/containers', 'var/lib/docker', 'var/tmp'];

/** Podman with storage of its own: what is in the machine's own is not touched. */
export class Podman {
  /** The Debian packages it needs. */
  static packages = ['podman', 'runc', 'conmon', 'netavark', 'iptables', 'catatonit'];

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'stasis-podman-'));
    mkdirSync(join(this.dir, 'bin'));
    symlinkSync(join(home, 'dist/stasis'), join(this.dir, 'bin/criu'));
    this.#importMachine();
  }

  #importMachine() {
    const packed = join(this.dir, 'machine.tar');
    const left = LEFT_OUT.map((path) => `--exclude=${path}`);
    const parts = PARTS.filter((part) => existsSync(`/${part}`));
    // A file that changes meanwhile, a log for example, makes it end with 1.
    const { status } = spawnSync('tar', ['-C', '/', '--one-file-system', ...left, '-cf', packed, ...parts], {
      stdio: 'ignore',
    });
    if (status > 1) throw new Error(`tar ended with ${status}`);
    this.run(['import', '-q', packed, IMAGE]);
    rmSync(packed);
  }

  /** Runs a command of Podman, which must succeed; returns what it says. */
  run(args) {
    const where = ['--root', join(this.dir, 'root'), '--runroot', join(this.dir, 'run'), '--storage-driver', 'overlay'];
    const how = ['--runtime', 'runc', '--cgroup-manager', 'cgroupfs', '--events-backend', 'file'];
    const { status, signal, stdout, stderr } = spawnSync('podman', [...where, ...how, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      timeout: LIMIT,
      killSignal: 'SIGKILL',
      env: { ...process.env, PATH: `${join(this.dir, 'bin')}:/usr/bin:/usr/sbin:/bin:/sbin` },
    });
    if (status === 0) return stdout.trim();
    throw new Error(`podman ${args.slice(0, 3).join(' ')} … ended with ${signal ?? status}: ${stderr}`);
  }

  end() {
    try {
      this.run(['rm', '-f', '-a', '-t', '0']);
    } catch (error) {
      console.error(error.message);
    }
    // The storage driver leaves its folder mounted on itself.
    for (const path of ['root/overlay', 'root']) spawnSync('umount', ['-l', join(this.dir, path)], { stdio: 'ignore' });
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A place whose server is in a container. */
export class PodmanPlace extends Place {
  #podman;
  #name;
  #options;

  /** @param options of Stasis that this server needs beyond those that Podman gives it */
  constructor(name, podman, options = []) {
    super(name);
    this.#options = options;
    this.#podman = podman;
    this.#name = `stasis-proof-${process.pid}-${name}`;
  }

  start(command, args, env = {}) {
    const variables = Object.entries({ LC_ALL: 'C', ...env }).flatMap(([key, value]) => ['-e', `${key}=${value}`]);
    // Users that a proof has made since the image was.
    const users = ['passwd', 'shadow', 'group'].flatMap((name) => ['-v', `/etc/${name}:/etc/${name}:ro`]);
    const folders = [
      ...users,
      '-v',
      `${this.dir}:${this.dir}`,
      '-v',
      '/usr:/usr:ro',
      '-v',
      `${home}/scripts:${home}/scripts:ro`,
    ];
    const log = this.path('server.log');
    const script = `mkdir -p /run/sshd; exec "$@" </dev/null >>'${log}' 2>&1`;
    const program = ['sh', '-c', script, 'sh', command, ...args];
    const empty = ['/tmp', '/run', '/root'].flatMap((path) => ['--tmpfs', path]);
    const where = ['--init', '--network=host', '-w', this.dir, ...empty, ...this.#settings()];
    this.#podman.run(['run', '-d', '--name', this.#name, ...where, ...folders, ...variables, IMAGE, ...program]);
    this.#findRoot();
  }

  /** What Podman has no option for is told to criu by a configuration file, which runc takes from an annotation. */
  #settings() {
    if (this.#options.length === 0) return [];
    const lines = this.#options.join(' ').split(/ ?--/).filter(Boolean);
    return ['--annotation', `org.criu.config=${this.file('criu.conf', `${lines.join('\n')}\n`)}`];
  }

  #findRoot() {
    this.root = Number(this.#podman.run(['inspect', '-f', '{{.State.Pid}}', this.#name]));
    if (!(this.root > 0)) throw new Error(`the container does not run: ${this.log()}`);
  }

  async cycle() {
    const tree = treeOf(this.root);
    this.noteSize(tree);
    this.times.dump.push(this.#timed('checkpoint'));
    await gone(tree);
    this.times.restore.push(this.#timed('restore'));
    this.#findRoot();
  }

  #timed(what) {
    const began = performance.now();
    try {
      this.#podman.run(['container', what, ...OPTIONS, this.#name]);
    } catch (error) {
      throw new Error(`${error.message}\n${this.#complaints(what === 'checkpoint' ? 'dump.log' : 'restore.log')}`);
    }
    return performance.now() - began;
  }

  /** What Stasis has said of the latest checkpoint or restore that failed. */
  #complaints(log) {
    const found = spawnSync('find', [join(this.#podman.dir, 'root'), '-name', log], { encoding: 'utf8' }).stdout;
    const lines = found.split('\n').filter(Boolean);
    return lines.map((path) => spawnSync('grep', ['-E', 'Error|Warn', path], { encoding: 'utf8' }).stdout).join('');
  }

  async stop(signal = 'SIGTERM') {
    const tree = treeOf(this.root);
    this.#podman.run(['kill', '-s', signal, this.#name]);
    await gone(tree);
    this.root = undefined;
    this.#podman.run(['rm', '-f', '-t', '0', this.#name]);
  }

  clean(how) {
    if (this.root !== undefined) this.#podman.run(['rm', '-f', '-t', '0', this.#name]);
    this.root = undefined;
    super.clean(how);
  }
}
