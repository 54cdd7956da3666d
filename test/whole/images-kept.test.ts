/** What image files are on disk: who may read them, what a full disk means, whether a changed byte is noticed. */
import { expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SmallDisk } from './kit/small-disk.ts';
import { stasis } from './kit/stasis.ts';
import { Victim } from './kit/victim.ts';

/** Runs with a directory on a file system that has no room. */
async function withFullDisk(victim: Victim, work: (dir: string) => Promise<void>): Promise<void> {
  using small = new SmallDisk(victim.dir, '4k');
  expect(spawnSync('dd', ['if=/dev/zero', `of=${join(small.dir, 'filler')}`, 'bs=4k', 'count=1']).status).toBe(0);
  await work(small.dir);
}

test('a disk that has no room for the figures is told, and fails neither a dump nor a restore', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  await withFullDisk(victim, async (full) => {
    const line = (words: readonly string[], log: string): string[] => [
      ...words.map((word, i) => (words[i - 1] === '-o' ? join(victim.dir, log) : word)),
      ...['-W', full],
    ];
    const dump = await stasis(line(victim.dumpLine(), 'dump.log'));
    expect(dump.stderr).toMatch(/^Warning: .*stats-dump: the figures cannot be written: ENOSPC\nHint: make room/);
    expect(dump.status).toBe(0);
    await victim.waitGone();
    const restore = await stasis(line(victim.restoreLine(), 'restore.log'));
    expect(restore.stderr).toMatch(/^Warning: .*stats-restore: the figures cannot be written: ENOSPC\nHint: make room/);
    expect(restore.status).toBe(0);
    expect(readdirSync(full)).toEqual(['filler']);
  });
  await victim.verdict();
}, 30_000);

test('images that hold memory are for their owner alone', async () => {
  using victim = await Victim.start('pipes');
  await victim.dump();
  const modes = readdirSync(victim.images).map((name) => [name, statSync(join(victim.images, name)).mode & 0o777]);
  const of = (pattern: RegExp): unknown[] => [
    ...new Set(modes.filter(([name]) => pattern.test(String(name))).map(([, mode]) => mode)),
  ];
  for (const name of [/^pages-\d+\.img$/, /^core-\d+\.img$/, /^pipes-data\.img$/]) expect(of(name)).toEqual([0o600]);
  expect(of(/^(pstree|inventory|files|mm-\d+)\.img$/)).toEqual([0o644]);
  expect(existsSync(join(victim.images, 'stasis-manifest.json'))).toBe(true);
  await victim.restore();
  await victim.verdict();
}, 20_000);

/** Changes one byte of a file. */
function flip(path: string, at: number): void {
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Uint8Array.of((byte[0] ?? 0) ^ 4), 0, 1, at);
  closeSync(fd);
}

for (const [about, name, args] of [
  ['of one task, in one go', 'sturdy', ['8']],
  ['of one task, with a helper', 'sturdy', ['40']],
  ['of tasks that share theirs', 'prefork', ['8', '4']],
] as const) {
  test(`--verify notices a changed byte of page contents: ${about}`, async () => {
    using victim = await Victim.start(name, args);
    await victim.dump();
    const files = readdirSync(victim.images).filter((file) => /^pages-\d+\.img$/.test(file));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      const path = join(victim.images, file);
      const size = statSync(path).size;
      for (const at of [0, Math.floor(size / 3), size - 1]) {
        flip(path, at);
        const outcome = await stasis([...victim.restoreLine(), '--verify']);
        expect(outcome.stderr).toMatch(/^Error: pages-\d+\.img: its content is not what the dump wrote, between byte/);
        expect(outcome.status).toBe(1);
        flip(path, at);
      }
    }
    expect(victim.remains()).toEqual([]);
    const outcome = await victim.restore(['--verify']);
    expect(outcome.stderr).toBe('');
    await victim.verdict();
  }, 60_000);
}

test('--verify says that images without checksums are not verified', async () => {
  using victim = await Victim.start('sturdy', ['1']);
  await victim.dump();
  rmSync(join(victim.images, 'stasis-manifest.json'));
  const outcome = await victim.restore(['--verify']);
  expect(outcome.stderr).toMatch(/^Warning: --verify: the images tell of no checksums/);
  await victim.verdict();
}, 20_000);
