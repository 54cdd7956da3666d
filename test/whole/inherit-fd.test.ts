/**
 * `--external` and `--inherit-fd` with each key of CRIU: the program reads a line from each descriptor it has, and
 * after the restore these are others, which the user has given.
 */
import { afterEach, expect, test } from 'bun:test';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TTY_IOCTL } from '../../src/kernel/constants/tty.ts';
import { arenaAddress, arenaPath, arenaView, syscall } from '../../src/kernel/syscall.ts';
import { stasisCommand, stasisOk } from './kit/stasis.ts';
import { until } from './kit/until.ts';

const { O_RDWR, O_NOCTTY } = constants;
const O_CLOEXEC = 0o2000000;
const MFD_CLOEXEC = 1;
const ends: (() => void)[] = [];

afterEach(() => {
  for (const end of ends.splice(0).reverse()) end();
});

/** What stands for a descriptor of the program: the one it has, and how a line is brought to it. */
interface Source {
  readonly fd: number;
  readonly bring: (line: string) => void;
}

const kept = (fd: number): number => {
  ends.push(() => closeSync(fd));
  return fd;
};

function pipeSource(): Source {
  syscall('pipe2', arenaAddress, O_CLOEXEC);
  const [read, write] = [kept(arenaView.getInt32(0, true)), kept(arenaView.getInt32(4, true))];
  return { fd: read, bring: (line) => void writeSync(write, line) };
}

function memfdSource(): Source {
  const fd = kept(syscall('memfd_create', arenaPath('stasis-given'), MFD_CLOEXEC));
  const reader = kept(openSync(`/proc/self/fd/${fd}`, 'r'));
  return { fd: reader, bring: (line) => void writeSync(fd, line) };
}

function fileSource(path: string): Source {
  writeFileSync(path, '');
  return { fd: kept(openSync(path, 'r')), bring: (line) => writeFileSync(path, line, { flag: 'a' }) };
}

function terminalSource(): Source {
  const master = kept(openSync('/dev/ptmx', O_RDWR | O_NOCTTY));
  arenaView.setInt32(0, 0, true);
  syscall('ioctl', master, TTY_IOCTL.TIOCSPTLCK, arenaAddress);
  syscall('ioctl', master, TTY_IOCTL.TIOCGPTN, arenaAddress);
  const slave = kept(openSync(`/dev/pts/${arenaView.getInt32(0, true)}`, O_RDWR | O_NOCTTY));
  return { fd: slave, bring: (line) => void writeSync(master, line) };
}

/** The sources of the program's descriptors 3 to 7. */
function sources(dir: string, name: string): Source[] {
  const files = [fileSource(join(dir, `${name}-path`)), fileSource(join(dir, `${name}-external`))];
  return [pipeSource(), memfdSource(), ...files, terminalSource()];
}

const PROGRAM = 'while read -r n; do for fd in 3 4 5 6 7; do read -r x <&$fd; echo "$n $fd $x"; done; done';

class Program {
  readonly dir = mkdtempSync(join(tmpdir(), 'stasis-given-'));
  readonly pid: number;
  readonly child: ChildProcess;
  readonly given: readonly Source[];

  constructor() {
    ends.push(() => rmSync(this.dir, { recursive: true, force: true }));
    spawnSync('mkfifo', [join(this.dir, 'ask')]);
    const out = kept(openSync(join(this.dir, 'out'), 'a'));
    const ask = kept(openSync(join(this.dir, 'ask'), 'r+'));
    this.given = sources(this.dir, 'old');
    this.child = spawn('sh', ['-c', PROGRAM], {
      cwd: this.dir,
      detached: true,
      stdio: [ask, out, out, ...this.given.map(({ fd }) => fd)],
    });
    this.child.unref();
    this.pid = this.child.pid ?? 0;
    ends.push(() => spawnSync('kill', ['-9', String(this.pid)]));
  }

  /** Brings a line to each source, and has the program read them. */
  async reads(round: string, from: readonly Source[]): Promise<void> {
    for (const [i, { bring }] of from.entries()) bring(`${round}${i}\n`);
    writeFileSync(join(this.dir, 'ask'), `${round}\n`, { flag: 'a' });
    const wanted = from.map((_, i) => `${round} ${i + 3} ${round}${i}\n`).join('');
    const seen = (): string => readFileSync(join(this.dir, 'out'), 'utf8');
    await until(
      () => (seen().includes(wanted) ? true : undefined),
      5000,
      () => `no ${JSON.stringify(wanted)} in ${JSON.stringify(seen())}`,
    );
  }

  /** The keys of descriptors 3 to 7. */
  keys(): string[] {
    const info = readFileSync(`/proc/${this.pid}/fdinfo/6`, 'utf8');
    const mount = Number(/^mnt_id:\t(\d+)$/m.exec(info)?.[1]);
    const stat = (i: number) => fstatSync((this.given[i] as Source).fd);
    const hex = (n: number): string => n.toString(16);
    return [
      `pipe:[${stat(0).ino}]`,
      '/memfd:stasis-given',
      join(this.dir, 'old-path').slice(1),
      `file[${hex(mount)}:${hex(stat(3).ino)}]`,
      `tty[${hex(stat(4).rdev)}:${hex(stat(4).dev)}]`,
    ];
  }

  async dump(keys: readonly string[]): Promise<void> {
    const external = keys.slice(3).flatMap((key) => ['--external', key]);
    const line = ['dump', '-t', String(this.pid), '-D', this.dir, '-o', 'dump.log', ...external];
    await stasisOk(line, join(this.dir, 'dump.log'));
    await until(
      () => (this.child.exitCode !== null || this.child.signalCode !== null ? true : undefined),
      5000,
      () => 'not dead',
    );
  }

  restore(given: readonly Source[], options: readonly string[]) {
    const [file = '', ...args] = [...stasisCommand(), 'restore', '-d', '-D', this.dir, ...options];
    const stdio = ['ignore' as const, 'pipe' as const, 'pipe' as const, ...given.map(({ fd }) => fd)];
    return spawnSync(file, args, { stdio, encoding: 'utf8', timeout: 30_000 });
  }
}

test('each key of --inherit-fd gives the program another descriptor', async () => {
  const program = new Program();
  const keys = program.keys();
  await program.reads('before', program.given);
  // Bytes that the program has not read yet: they are on their way to it.
  program.given[0]?.bring('wait');
  await program.dump(keys);
  const given = sources(program.dir, 'new');
  const options = keys.flatMap((key, i) => ['--inherit-fd', `fd[${i + 3}]:${key}`]);

  const missing = program.restore(given, [...options, '--inherit-fd', 'fd[77]:pipe:[1]']);
  expect(missing.status).not.toBe(0);
  expect(missing.stderr).toContain('Stasis has no descriptor 77');
  const without = program.restore(given, options.slice(0, 8));
  expect(without.status).not.toBe(0);
  expect(without.stderr).toContain(`give one with --inherit-fd 'fd[N]:${keys[4]}'`);

  const done = program.restore(given, [...options, '--inherit-fd', 'fd[3]:pipe:[1]']);
  expect(done.status).toBe(0);
  expect(done.stderr).toMatch(/^Warning: --inherit-fd fd\[3\]:pipe:\[1\]: no file of the images asks for this key/m);
  expect(done.stderr).not.toContain('lost');
  const first = given[0] as Source;
  // The pipe comes first, and a read of it waits; files do not wait.
  for (const [i, { bring }] of given.slice(1).entries()) bring(`half${i + 1}\n`);
  writeFileSync(join(program.dir, 'ask'), 'half\n', { flag: 'a' });
  first.bring('ed\n');
  await until(
    () => (readFileSync(join(program.dir, 'out'), 'utf8').includes('half 7 half4') ? true : undefined),
    5000,
    () => readFileSync(join(program.dir, 'out'), 'utf8'),
  );
  expect(readFileSync(join(program.dir, 'out'), 'utf8')).toContain('half 3 waited\n');
  await program.reads('after', given);
}, 40_000);
