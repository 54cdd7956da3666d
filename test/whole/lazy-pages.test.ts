/** Restores whose pages are brought when they are needed, from the images. */
import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buryOrphans } from './kit/bury-orphans.ts';
import { LazyDaemon } from './kit/lazy-daemon.ts';
import { stasis } from './kit/stasis.ts';
import { statOf } from './kit/tree.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const SOCKET = 'lazy-pages.socket';
const rounds = Number(process.env.STASIS_ROUNDS ?? 1);

/** A dump, a daemon, and a restore that it serves. Whoever calls ends the daemon. */
async function restoreLazily(victim: Victim, options: readonly string[] = []): Promise<LazyDaemon> {
  const daemon = await LazyDaemon.start(victim.images);
  await victim.restore(['--lazy-pages', ...options]);
  return daemon;
}

/** A script that asks for the verdict just before the victim runs, so that it meets its memory as early as can be. */
function askingScript(victim: Victim): string {
  const path = join(victim.dir, 'asking.sh');
  const ask = `echo ask 0 0 >> ${join(victim.dir, 'ask')}`;
  writeFileSync(path, `#!/bin/sh\nif [ "$CRTOOLS_SCRIPT_ACTION" = post-restore ]; then ${ask}; fi\n`, { mode: 0o755 });
  return path;
}

for (const name of ['heap', 'inheritance', 'prefork', 'threads', 'zombies', 'userns', 'nestedpids']) {
  test(`${name}: restored with its pages to come`, async () => {
    using victim = await Victim.start(name);
    if (victim.skipped) return;
    await victim.dump();
    using daemon = await restoreLazily(victim);
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    expect(daemon.log).toMatch(/[1-9]\d* pages were brought/);
    expect(existsSync(join(victim.images, SOCKET))).toBe(false);
    await victim.verdict();
  }, 30_000);
}

for (let round = 0; round < rounds; round++) {
  test(`a program that meets its pages in all states, round ${round}`, async () => {
    using victim = await Victim.start('lazily', ['64']);
    await victim.dump();
    using daemon = await restoreLazily(victim, ['--action-script', askingScript(victim)]);
    await victim.verdict({ limitMs: 30_000 });
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    expect(daemon.log).toMatch(/[1-9]\d{2,} times somebody waited/);
  }, 60_000);

  test(`a program that never stops writing, moving and forking, round ${round}`, async () => {
    using victim = await Victim.start('scribbler', ['700']);
    for (let turn = 0; turn < 3; turn++) {
      await victim.dump();
      buryOrphans(victim.pid);
      using daemon = await restoreLazily(victim);
      expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    }
    await victim.verdict({ limitMs: 30_000 });
  }, 120_000);

  test(`pages of a chain, round ${round}`, async () => {
    using victim = await Victim.start('scribbler', ['500']);
    const first = victim.dumpLine();
    first[0] = 'pre-dump';
    expect(await stasis(first)).toMatchObject({ status: 0 });
    await victim.dump(['--prev-images-dir', '../images-1']);
    buryOrphans(victim.pid);
    using daemon = await restoreLazily(victim);
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    await victim.verdict({ limitMs: 30_000 });
  }, 60_000);
}

test('hundreds of processes', async () => {
  using victim = await Victim.start('tree', ['mixed', '300']);
  await victim.dump();
  using daemon = await restoreLazily(victim);
  expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
  await victim.verdict({ limitMs: 40_000 });
}, 90_000);

test('a daemon in the background', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  const line = ['lazy-pages', '-D', victim.images, '-o', 'lazy.log', '-v4', '--daemon', '--pidfile', 'lazy.pid'];
  expect(await stasis(line)).toMatchObject({ status: 0, stderr: '' });
  const pid = Number(readFileSync(join(victim.images, 'lazy.pid'), 'utf8'));
  await victim.restore(['--lazy-pages']);
  await until(
    () => ((statOf(pid)?.state ?? 'Z') === 'Z' ? true : undefined),
    5000,
    () => 'the daemon does not end',
  );
  await victim.verdict();
}, 30_000);

test('without a daemon nothing is restored', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  const outcome = await stasis(victim.restoreLine(['--lazy-pages']));
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/lazy-pages\.socket: no lazy-pages daemon listens there/);
  expect(victim.exists()).toBe(false);
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a daemon without images says so at once', async () => {
  using victim = await Victim.start('heap');
  const dir = join(victim.dir, 'empty');
  mkdirSync(dir);
  const outcome = await stasis(['lazy-pages', '-D', dir]);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/there is no inventory/);
  expect(existsSync(join(dir, SOCKET))).toBe(false);
}, 30_000);

test('a daemon with the images of another dump', async () => {
  using victim = await Victim.start('heap');
  await victim.dump(['-R']);
  const old = victim.images;
  await victim.dump();
  using daemon = await LazyDaemon.start(old);
  const outcome = await stasis(victim.restoreLine(['--lazy-pages', '-W', old]));
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/the lazy-pages daemon: its images are of another dump/);
  expect(victim.exists()).toBe(false);
  expect((await daemon.end()).stderr).toMatch(/the restore: it has ended before the tasks ran/);
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a daemon that is killed before the tasks run leaves nothing behind', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  using daemon = await LazyDaemon.start(victim.images);
  daemon.kill('SIGSTOP');
  const restoring = stasis(victim.restoreLine(['--lazy-pages']));
  await until(
    () => (victim.exists() ? true : undefined),
    5000,
    () => 'no process',
  );
  daemon.kill();
  const outcome = await restoring;
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/the lazy-pages daemon: /);
  expect(victim.exists()).toBe(false);
  await victim.restore();
  await victim.verdict();
}, 30_000);

test('a second daemon leaves the first one its socket, and the name of one that has ended is taken', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  using daemon = await LazyDaemon.start(victim.images);
  const second = await stasis(['lazy-pages', '-D', victim.images]);
  expect(second).toMatchObject({ status: 1 });
  expect(second.stderr).toMatch(
    /lazy-pages\.socket: no daemon can listen there: another one does\nHint: choose another/,
  );
  await victim.restore(['--lazy-pages']);
  expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
  await victim.dump();
  using killed = await LazyDaemon.start(victim.images);
  killed.kill();
  await killed.end();
  expect(existsSync(join(victim.images, SOCKET))).toBe(true);
  using third = await restoreLazily(victim);
  expect(await third.end()).toEqual({ status: 0, stderr: '' });
  await victim.verdict();
}, 30_000);

test('a restore that is killed ends the daemon', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  using daemon = await LazyDaemon.start(victim.images);
  const line = victim.restoreLine(['--lazy-pages', '--action-script', '/bin/false']);
  expect(await stasis(line)).toMatchObject({ status: 1 });
  daemon.kill('SIGTERM');
  const { stderr } = await daemon.end();
  expect(stderr).not.toBe('');
  expect(victim.exists()).toBe(false);
  expect(existsSync(join(victim.images, SOCKET))).toBe(false);
}, 30_000);

test('pages that cannot be brought any more raise SIGBUS, and are not taken for zeros', async () => {
  using victim = await Victim.start('lazily', ['256']);
  await victim.dump();
  using daemon = await restoreLazily(victim);
  daemon.kill('SIGTERM');
  const { stderr } = await daemon.end();
  // Whoever is quick has brought everything before.
  if (stderr === '') return;
  expect(stderr).toMatch(/whoever touches a page that was not brought gets SIGBUS/);
  await expect(victim.verdict()).rejects.toThrow(/has ended/);
  expect(victim.output()).not.toMatch(/FAIL/);
}, 30_000);
