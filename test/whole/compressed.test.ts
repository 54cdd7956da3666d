/** Compressed page contents: restored from a folder, from one file and over a chain; damage and limits are told. */
import { expect, test } from 'bun:test';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buryOrphans } from './kit/bury-orphans.ts';
import { SmallDisk } from './kit/small-disk.ts';
import { stasis, stasisOk } from './kit/stasis.ts';
import { sleep } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const packedIn = (dir: string): string[] => readdirSync(dir).filter((name) => /^stasis-pages-\d+\.zst$/.test(name));
const plainIn = (dir: string): string[] => readdirSync(dir).filter((name) => /^pages-\d+\.img$/.test(name));

const VICTIMS: readonly (readonly [name: string, ...args: string[]])[] = [
  ['memory', 'shared'],
  ['sharedmem'],
  ['segments'],
  ['inheritance'],
  ['sysv'],
  ['threads'],
  ['tree'],
  ['unixfamily'],
  ['vdso'],
  ['sturdy', '40'],
];

for (const [name, ...args] of VICTIMS) {
  test(`${name}: cycles with a folder and with one file`, async () => {
    using victim = await Victim.start(name, args);
    if (victim.skipped) return;
    await victim.dump(['--compress']);
    expect(packedIn(victim.images).length).toBeGreaterThan(0);
    expect(plainIn(victim.images)).toEqual([]);
    for (const file of packedIn(victim.images)) expect(statSync(join(victim.images, file)).mode & 0o777).toBe(0o600);
    await victim.restore(['--verify']);
    await sleep(30);
    const archive = join(victim.dir, 'one.tar');
    await victim.dump(['--compress=zstd', '--to', archive]);
    await victim.restore(['--from', archive, '--verify']);
    await victim.verdict();
  }, 40_000);
}

test('a chain of compressed and plain sets', async () => {
  using victim = await Victim.start('scribbler');
  let previous: string | undefined;
  for (const [kind, ...options] of [
    ['pre-dump', '--compress'],
    ['dump', '-R', '--track-mem'],
    ['dump', '-R', '--track-mem', '--compress'],
    ['dump', '--compress'],
  ] as const) {
    const line = victim.dumpLine([...options, ...(previous === undefined ? [] : ['--prev-images-dir', previous])]);
    line[0] = kind;
    await stasisOk(line, join(victim.images, 'dump.log'), { limitMs: 60_000 });
    previous = `../${victim.images.slice(victim.images.lastIndexOf('/') + 1)}`;
    await sleep(20);
  }
  await victim.waitGone();
  buryOrphans(victim.pid);
  await victim.restore(['--verify']);
  await sleep(50);
  await victim.verdict({ limitMs: 20_000 });
}, 90_000);

test('zstd makes plain images of them', async () => {
  if (spawnSync('zstd', ['--version']).status !== 0) return;
  using victim = await Victim.start('segments');
  await victim.dump(['--compress']);
  for (const name of packedIn(victim.images)) {
    const plain = `${name.replace('stasis-', '').replace('.zst', '')}.img`;
    execFileSync('zstd', ['-dq', '--rm', name, '-o', plain], { cwd: victim.images });
  }
  rmSync(join(victim.images, 'stasis-manifest.json'));
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a folder in which there was a plain dump, and the other way round', async () => {
  using victim = await Victim.start('memory');
  await victim.dump(['-R']);
  const line = ['dump', '-t', String(victim.pid), '-D', victim.images, '-o', 'dump.log'];
  await stasisOk([...line, '-R', '--compress']);
  expect(plainIn(victim.images)).toEqual([]);
  await stasisOk([...line, '-R']);
  expect(packedIn(victim.images)).toEqual([]);
  await stasisOk([...line, '--compress']);
  await victim.waitGone();
  await victim.restore(['--verify']);
  await victim.verdict();
}, 30_000);

test('what was cut or changed is an error, and nothing is restored', async () => {
  using victim = await Victim.start('sturdy', ['2']);
  await victim.dump(['--compress']);
  const [name = ''] = packedIn(victim.images);
  const path = join(victim.images, name);
  const whole = readFileSync(path);
  const refused = async (error: RegExp, options: readonly string[] = []): Promise<void> => {
    const outcome = await stasis(victim.restoreLine(options));
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(error);
    expect(outcome.stderr).not.toContain('    at ');
    expect(victim.exists()).toBe(false);
  };
  truncateSync(path, whole.length - 100);
  await refused(/stasis-pages-1\.zst: is \d+ bytes long; the dump wrote/);
  const flipped = Uint8Array.from(whole);
  flipped[5000] = (flipped[5000] as number) ^ 4;
  writeFileSync(path, flipped);
  await refused(/stasis-pages-1\.zst: its content is not what the dump wrote, in frame 0/, ['--verify']);
  await refused(/stasis-pages-1\.zst: its content is not what the dump wrote, in frame 0/);
  const table = Uint8Array.from(whole);
  table[whole.length - 12] = (table[whole.length - 12] as number) ^ 1;
  writeFileSync(path, table);
  await refused(/stasis-pages-1\.zst: (the table of its frames is damaged|\d+ bytes where pagemap-\d+\.img tells of)/);
  rmSync(path);
  await refused(/stasis-pages-1\.zst: is missing/);
  writeFileSync(path, whole);
  await victim.restore();
  await victim.verdict();
}, 40_000);

test('a full disk is told, and the task lives on', async () => {
  using victim = await Victim.start('sturdy', ['8']);
  using small = new SmallDisk(victim.dir);
  const outcome = await stasis([...victim.dumpLine(['--compress']), '-D', small.dir, '-W', victim.dir]);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/ENOSPC|no space left/i);
  expect(readdirSync(small.dir)).toEqual([]);
  await victim.verdict();
}, 30_000);

test('what does not go together is refused by name', async () => {
  using victim = await Victim.start('memory');
  const server = ['--compress', '--page-server', '--address', '127.0.0.1', '--port', '1'];
  expect((await stasis(victim.dumpLine(server))).stderr).toMatch(/--compress: cannot be used with --page-server/);
  expect((await stasis(victim.dumpLine(['--compress=lz4']))).stderr).toMatch(/is one of zstd, none/);
  await victim.verdict();
}, 30_000);
