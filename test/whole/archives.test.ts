/** Image sets in one file: written and read as one, through pipes, and by tar. What fails leaves nothing behind. */
import { expect, test } from 'bun:test';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readIndex } from '../../src/support/archive/members.ts';
import { buryOrphans } from './kit/bury-orphans.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { run, stasis, stasisCommand, stasisOk } from './kit/stasis.ts';
import { sleep, until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const archiveOf = (victim: Victim): string => join(victim.dir, 'one.tar');

/** Dumps into a file outside of the images directory, where only the log stays. */
async function dumpTo(victim: Victim, options: readonly string[] = []): Promise<string> {
  const archive = archiveOf(victim);
  await victim.dump(['--to', archive, ...options]);
  expect(readdirSync(victim.images)).toEqual(['dump.log']);
  return archive;
}

const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' ');

/** Runs shell text in which `$STASIS` is what is tested. */
function shell(text: string): ReturnType<typeof run> {
  return run(['bash', '-o', 'pipefail', '-c', `STASIS="${stasisCommand().join(' ')}"; ${text}`], { limitMs: 60_000 });
}

const VICTIMS: readonly (readonly [name: string, ...args: string[]])[] = [
  ['memory', 'shared'],
  ['sharedmem'],
  ['segments'],
  ['inheritance'],
  ['sysv'],
  ['threads'],
  ['tree'],
  ['ghosts'],
  ['pipes'],
  ['unixfamily'],
  ['mounts'],
];

for (const [name, ...args] of VICTIMS) {
  test(`${name}: to a file and from it`, async () => {
    using victim = await Victim.start(name, args);
    if (victim.skipped) return;
    const archive = await dumpTo(victim);
    expect(statSync(archive).mode & 0o777).toBe(0o600);
    await victim.restore(['--from', archive, '--verify']);
    expect(readdirSync(victim.images).sort()).toEqual(['dump.log', 'restore.log']);
    await victim.verdict();
  }, 30_000);

  test(`${name}: through a pipe`, async () => {
    using victim = await Victim.start(name, args);
    if (victim.skipped) return;
    // Its parent, which is the process of the tests, has to bury it before its number is free.
    const between = join(victim.dir, 'between');
    const dump = await shell(`$STASIS ${quoted([...victim.dumpLine(), '--to', '-'])} | cat > ${between}`);
    expect([dump.status, withoutWarnings(dump.stderr)]).toEqual([0, '']);
    await victim.waitGone();
    const restore = await shell(`cat ${between} | $STASIS ${quoted([...victim.restoreLine(), '--from', '-'])}`);
    expect([restore.status, withoutWarnings(restore.stderr)]).toEqual([0, '']);
    if (!victim.alive()) throw new Error(restore.stderr);
    await victim.verdict();
  }, 30_000);
}

const withoutWarnings = (text: string): string => text.replaceAll(/^(Warning|Hint):.*\n/gm, '');

test('in namespaces of its own', async () => {
  using victim = await Victim.start('events', [], { unshare: ['--pid', '--mount-proc', '--uts', '--ipc', '--net'] });
  const archive = await dumpTo(victim);
  victim.forgetPid();
  await victim.restore(['--from', archive]);
  await victim.verdict();
}, 30_000);

test('unpacked by tar it is a folder of images, and a folder packed by tar is an archive', async () => {
  using victim = await Victim.start('segments');
  const archive = await dumpTo(victim);
  execFileSync('tar', ['xf', archive, '-C', victim.images]);
  await victim.restore(['--verify']);
  await victim.dump();
  const packed = join(victim.dir, 'packed.tar');
  execFileSync('tar', ['cf', packed, '-C', victim.dir, victim.images.slice(victim.dir.length + 1)]);
  await victim.restore(['--from', packed, '--verify']);
  await victim.verdict();
}, 30_000);

test('a compressed archive comes through a pipe', async () => {
  using victim = await Victim.start('memory');
  const dump = quoted([...victim.dumpLine(), '--to', '-']);
  const archive = join(victim.dir, 'one.tar.gz');
  expect(await shell(`$STASIS ${dump} | gzip -1 > ${archive}`)).toMatchObject({ status: 0, stdout: '' });
  await victim.waitGone();
  const outcome = await stasis([...victim.restoreLine(), '--from', archive]);
  expect(outcome.stderr).toMatch(/is compressed[\s\S]*gzip -dc FILE/);
  expect(victim.exists()).toBe(false);
  const restore = quoted([...victim.restoreLine(), '--from', '-', '--spool', victim.dir]);
  expect(await shell(`gzip -dc ${archive} | $STASIS ${restore}`)).toMatchObject({ status: 0 });
  await victim.verdict();
}, 30_000);

test('the end of a chain of dumps', async () => {
  using victim = await Victim.start('scribbler');
  const line = victim.dumpLine();
  line[0] = 'pre-dump';
  await stasisOk(line, join(victim.images, 'dump.log'), { limitMs: 60_000 });
  const before = victim.images.slice(victim.images.lastIndexOf('/') + 1);
  await sleep(30);
  const archive = archiveOf(victim);
  const outcome = await victim.dump(['--prev-images-dir', `../${before}`, '--to', archive, '--json']);
  const { pages, pagesInParent } = JSON.parse(outcome.stdout) as { pages: number; pagesInParent: number };
  expect(Math.min(pages, pagesInParent)).toBeGreaterThan(0);
  expect(execFileSync('tar', ['tvf', archive], { encoding: 'utf8' })).toContain(`parent -> ../${before}`);
  buryOrphans(victim.pid);
  await victim.restore(['--from', archive, '--verify']);
  await sleep(50);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('a stream that whoever gave it has made non-blocking is waited for', async () => {
  using victim = await Victim.start('memory');
  const archive = await dumpTo(victim);
  await victim.waitGone();
  const line = [...stasisCommand(), ...victim.restoreLine(), '--from', '-'];
  const script = `
import os, subprocess, sys, time
ours, theirs = os.pipe()
os.set_blocking(ours, False)
child = subprocess.Popen(sys.argv[2:], stdin=ours)
time.sleep(0.5)
os.set_blocking(theirs, True)
with open(sys.argv[1], 'rb') as archive:
  while piece := archive.read(100000):
    os.write(theirs, piece)
    time.sleep(0.01)
os.close(theirs)
sys.exit(child.wait())`;
  const { status, stderr } = spawnSync('python3', ['-c', script, archive, ...line], { encoding: 'utf8' });
  expect([status, withoutWarnings(stderr)]).toEqual([0, '']);
  await victim.verdict();
}, 30_000);

test('nothing but the archive goes to stdout', async () => {
  using victim = await Victim.start('memory');
  const script = join(victim.dir, 'script.sh');
  writeFileSync(script, '#!/bin/sh\necho "$CRTOOLS_SCRIPT_ACTION"\n');
  chmodSync(script, 0o755);
  const archive = archiveOf(victim);
  const dump = [...victim.dumpLine(['-R', '--json', '--display-stats', '--action-script', script]), '--to', '-'];
  const outcome = await shell(`$STASIS ${quoted(dump)} > ${archive}`);
  expect(outcome).toMatchObject({ status: 0, stdout: '' });
  expect(outcome.stderr).toMatch(/post-dump\n/);
  expect(outcome.stderr).toMatch(/"finalState":"running"/);
  victim.kill();
  await victim.waitGone();
  await victim.restore(['--from', archive]);
  await victim.verdict();
}, 30_000);

test('an archive that is there already is replaced when the new one is complete', async () => {
  using victim = await Victim.start('memory');
  const archive = archiveOf(victim);
  writeFileSync(archive, 'another file');
  chmodSync(archive, 0o644);
  await dumpTo(victim);
  expect(readdirSync(victim.dir).filter((name) => name.includes('one.tar'))).toEqual(['one.tar']);
  await victim.restore(['--from', archive]);
  await victim.verdict();
}, 30_000);

/** Changes a byte of a file. */
function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const fd = openSync(path, 'r+');
  writeSync(fd, Uint8Array.of((bytes[at] as number) ^ 0x10), 0, 1, at);
  closeSync(fd);
}

/** Tries a restore that has to fail with this error before there is a process. */
async function refused(victim: Victim, archive: string, error: RegExp, options: readonly string[] = []): Promise<void> {
  for (const source of [quoted(['--from', archive]), `--from - < ${archive}`, `--from - < <(cat ${archive})`]) {
    const outcome = await shell(`$STASIS ${quoted([...victim.restoreLine(), ...options])} ${source}`);
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(error);
    expect(outcome.stderr).not.toContain('    at ');
    expect(victim.exists()).toBe(false);
  }
}

test('an archive that was cut or changed is an error before any process exists', async () => {
  using victim = await Victim.start('memory');
  const archive = await dumpTo(victim);
  const whole = readFileSync(archive);
  const damaged = join(victim.dir, 'damaged.tar');
  for (const length of [0, 100, 512, 5000, 100_000, whole.length - 4096, whole.length - 1024]) {
    writeFileSync(damaged, whole.subarray(0, length));
    await refused(victim, damaged, length === 0 ? /is empty/ : /ends too early/);
  }
  const { members } = readIndex((at, length) => whole.subarray(at, at + length), whole.length, archive);
  for (const [name, { offset, size }] of members) {
    if (name.startsWith('pages-')) continue;
    writeFileSync(damaged, whole);
    flip(damaged, offset + Math.floor(size / 2));
    await refused(victim, damaged, name === 'inventory.img' ? /./ : /\.(img|json)\b/);
  }
  writeFileSync(damaged, whole);
  flip(damaged, (members.get('pages-1.img')?.offset ?? 0) + 5000);
  await refused(victim, damaged, /pages-1\.img: its content is not what the dump wrote/, ['--verify']);
  await victim.restore(['--from', archive, '--verify']);
  await victim.verdict();
}, 60_000);

test('an encrypted archive: with its key, with another one, and with none', async () => {
  using victim = await Victim.start('sturdy', ['2']);
  const key = join(victim.dir, 'key');
  writeFileSync(key, crypto.getRandomValues(new Uint8Array(32)));
  const archive = await dumpTo(victim, ['--encrypt', key]);
  const whole = readFileSync(archive);
  expect(whole.includes('inventory.img')).toBe(false);
  await refused(victim, archive, /is encrypted[\s\S]*--encrypt/);
  const other = join(victim.dir, 'other');
  writeFileSync(other, 'ab'.repeat(32));
  await refused(victim, archive, /is encrypted with another key/, ['--encrypt', other]);
  writeFileSync(other, 'too short');
  await refused(victim, archive, /is no key/, ['--encrypt', other]);
  const damaged = join(victim.dir, 'damaged.tar');
  for (const at of [50, 100, 5000, Math.floor(whole.length / 2), whole.length - 1]) {
    writeFileSync(damaged, whole);
    flip(damaged, at);
    await refused(victim, damaged, /another key, or damaged|was changed or cut/, ['--encrypt', key]);
  }
  const frame = 256 * 1024 + 16;
  for (const length of [80, 80 + frame, whole.length - 17]) {
    writeFileSync(damaged, whole.subarray(0, length));
    await refused(victim, damaged, /was changed or cut/, ['--encrypt', key]);
  }
  await victim.restore(['--from', archive, '--encrypt', key, '--verify']);
  const plain = await dumpTo(victim);
  await refused(victim, plain, /is not encrypted/, ['--encrypt', key]);
  await victim.restore(['--from', plain]);
  const dump = quoted([...victim.dumpLine(['--encrypt', key, '--compress']), '--to', '-']);
  expect(await shell(`$STASIS ${dump} | cat > ${archive}`)).toMatchObject({ status: 0 });
  await victim.waitGone();
  const restore = quoted([...victim.restoreLine(['--encrypt', key, '--verify']), '--from', '-']);
  expect(await shell(`cat ${archive} | $STASIS ${restore}`)).toMatchObject({ status: 0 });
  await victim.verdict();
}, 90_000);

test('who reads a pipe and goes lets the task live on', async () => {
  using victim = await Victim.start('sturdy', ['8']);
  for (const bytes of [1, 100_000, 3_000_000]) {
    const outcome = await shell(`$STASIS ${quoted(victim.dumpLine(['--to', '-']))} | head -c ${bytes} > /dev/null`);
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(/whoever read it has gone/);
    expect(victim.alive()).toBe(true);
  }
  await victim.verdict();
}, 30_000);

test('a full disk is told, leaves no file, and the task lives on', async () => {
  using victim = await Victim.start('sturdy', ['8']);
  using small = new SmallDisk(victim.dir);
  const outcome = await stasis(victim.dumpLine(['--to', join(small.dir, 'one.tar')]));
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
  expect(readdirSync(small.dir)).toEqual([]);
  expect(victim.alive()).toBe(true);
  const archive = await dumpTo(victim);
  const restore = victim.restoreLine(['--from', '-', '--spool', small.dir]);
  const spooled = await shell(`cat ${archive} | $STASIS ${quoted(restore)}`);
  expect(spooled.stderr).toMatch(/no space left|ENOSPC/i);
  expect(victim.exists()).toBe(false);
  await victim.restore(['--from', archive]);
  await victim.verdict();
}, 30_000);

test('killed in the middle, it leaves no file under the name, and the task lives on', async () => {
  using victim = await Victim.start('sturdy', ['64']);
  const archive = archiveOf(victim);
  writeFileSync(archive, 'an earlier one');
  let killed = 0;
  for (let round = 0; round < 12; round++) {
    const [file = '', ...args] = [...stasisCommand(), ...victim.dumpLine(['-R', '--to', archive])];
    const child = spawn(file, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    await sleep(20 + round * 15);
    child.kill('SIGKILL');
    await ended;
    if (child.signalCode !== 'SIGKILL') break;
    killed++;
    const content = readFileSync(archive);
    if (content.length > 100) execFileSync('tar', ['tf', archive]);
    else expect(content.toString()).toBe('an earlier one');
    await until(
      () => (victim.alive() ? true : undefined),
      5000,
      () => 'it is gone',
    );
  }
  expect(killed).toBeGreaterThan(2);
  await dumpTo(victim);
  await victim.restore(['--from', archive]);
  await victim.verdict();
}, 60_000);

test('a signal while nobody reads the pipe lets the task go', async () => {
  using victim = await Victim.start('sturdy', ['64']);
  const fifo = join(victim.dir, 'fifo');
  spawnSync('mkfifo', [fifo]);
  const reader = openSync(fifo, 'r+');
  const [file = '', ...args] = [...stasisCommand(), ...victim.dumpLine(['--to', fifo])];
  const child = spawn(file, args, { stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const isStopped = (): boolean => /^State:\tt/m.test(readFileSync(`/proc/${victim.pid}/status`, 'utf8'));
  await until(
    () => isStopped() || undefined,
    10_000,
    () => 'it does not begin',
  );
  await sleep(500);
  expect(isStopped()).toBe(true);
  child.kill('SIGTERM');
  await ended;
  closeSync(reader);
  expect(child.signalCode).toBe('SIGTERM');
  expect(readFileSync(join(victim.images, 'dump.log'), 'utf8')).toMatch(/its tree go on, and no images are left/);
  await victim.verdict();
}, 30_000);

test('what makes no sense is refused by name', async () => {
  using victim = await Victim.start('memory');
  const archive = archiveOf(victim);
  for (const [options, error] of [
    [['--to', archive, '--page-server', '--address', '127.0.0.1', '--port', '1'], /--page-server: cannot be used with/],
    [['--to', archive, '--auto-dedup'], /--auto-dedup: cannot be used with --to/],
    [['--to', archive, '--lazy-pages', '--port', '1'], /--lazy-pages: (cannot be used with --to|not built yet)/],
    [['--encrypt', '/etc/hostname'], /--encrypt: is for dumps into one file/],
    [['--spool', '/tmp'], /--spool: is for dumps into one file/],
    [['--to', victim.dir], /EISDIR|is a directory/i],
    [['--to', join(victim.dir, 'no/one.tar')], /ENOENT|no such/i],
    [['--from', archive], /--from: is for restore/],
  ] as const) {
    const outcome = await stasis(victim.dumpLine(options));
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(error);
  }
  const terminal = spawnSync(
    'script',
    ['-qec', `${stasisCommand().join(' ')} ${victim.dumpLine(['--to', '-']).join(' ')}`, '/dev/null'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  expect(terminal.stdout).toMatch(/--to -: stdout is a terminal/);
  await victim.verdict();
}, 30_000);
