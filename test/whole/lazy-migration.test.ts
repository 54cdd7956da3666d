/** Restores whose pages come from somewhere else: the dump, whose frozen tasks have kept them, or a page server. */
import { expect, test } from 'bun:test';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { buryOrphans } from './kit/bury-orphans.ts';
import { LazyDaemon } from './kit/lazy-daemon.ts';
import { type Outcome, stasis, stasisCommand } from './kit/stasis.ts';
import { until } from './kit/until.ts';
import { Victim } from './kit/victim.ts';

const rounds = Number(process.env.STASIS_ROUNDS ?? 1);

/** A command that waits for whoever asks for pages: a dump with --lazy-pages, or a page server. */
class Giver implements Disposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #stdout = '';
  #stderr = '';

  private constructor(line: readonly string[]) {
    const [file = '', ...args] = stasisCommand();
    const options = ['--address', '127.0.0.1', '--status-fd', '3'];
    this.#child = spawn(file, [...args, ...line, ...options], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.#child.stdout?.on('data', (bytes: Buffer) => (this.#stdout += bytes.toString()));
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#stderr += bytes.toString()));
    this.#ended = new Promise((resolve) => this.#child.on('close', resolve));
  }

  static async start(line: readonly string[]): Promise<Giver> {
    const giver = new Giver(line);
    const ready = giver.#child.stdio[3] as unknown as Socket;
    const said = await new Promise<Buffer>((resolve) => {
      ready.once('data', resolve);
      ready.once('end', () => resolve(Buffer.alloc(0)));
    });
    expect({ said: [...said], stderr: giver.#stderr }).toEqual({ said: [0], stderr: '' });
    await until(
      () => (/listening at 127/.test(giver.#stdout) ? true : undefined),
      5000,
      () => 'no port',
    );
    return giver;
  }

  get options(): string[] {
    const port = /listening at 127\.0\.0\.1:(\d+)/.exec(this.#stdout)?.[1] ?? '';
    return ['--page-server', '--address', '127.0.0.1', '--port', port];
  }

  async end(): Promise<{ readonly status: number | null; readonly stderr: string }> {
    return { status: await this.#ended, stderr: this.#stderr };
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  [Symbol.dispose](): void {
    if (this.#child.exitCode === null) this.kill();
  }
}

/** Bytes of all pages that are in the images. */
function stored(dir: string): number {
  const pages = readdirSync(dir).filter((name) => /^pages-\d+\.img$/.test(name));
  return pages.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

/** The images as another machine has them, where the tree is restored in a PID namespace of its own. */
function copied(victim: Victim): string {
  const to = `${victim.images}-there`;
  mkdirSync(to);
  for (const name of readdirSync(victim.images)) {
    if (/\.img$|^stasis-/.test(name)) copyFileSync(join(victim.images, name), join(to, name));
  }
  return to;
}

async function restoreApart(victim: Victim, dir: string, ...options: string[]): Promise<Outcome> {
  const line = ['restore', '-D', dir, '-o', 'restore.log', '-v4', '-d', '--lazy-pages', '--new-pidns'];
  const outcome = await stasis([...line, '--pidfile', join(dir, 'pid'), ...options]);
  if (outcome.status === 0) victim.pid = Number(readFileSync(join(dir, 'pid'), 'utf8'));
  return outcome;
}

for (const [name, ...words] of [
  ['heap'],
  ['inheritance'],
  ['threads'],
  ['tree', 'mixed', '30'],
  ['lazily', '48'],
] as const) {
  test(`${name}: its pages stay with the dump until they are needed`, async () => {
    using victim = await Victim.start(name, words);
    if (victim.skipped) return;
    const line = victim.dumpLine(['--lazy-pages']);
    using dump = await Giver.start(line);
    expect(stored(victim.images)).toBeLessThan(name === 'lazily' ? 1 << 20 : 1 << 30);
    const there = copied(victim);
    using daemon = await LazyDaemon.start(there, dump.options);
    expect(await restoreApart(victim, there)).toMatchObject({ status: 0 });
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    expect(await dump.end()).toEqual({ status: 0, stderr: '' });
    await victim.verdict({ limitMs: 30_000 });
  }, 60_000);
}

for (let round = 0; round < rounds; round++) {
  test(`a program that meets pages on their way, round ${round}`, async () => {
    using victim = await Victim.start('lazily', ['64']);
    using dump = await Giver.start(victim.dumpLine(['--lazy-pages']));
    const there = copied(victim);
    using daemon = await LazyDaemon.start(there, dump.options);
    const script = join(victim.dir, 'asking.sh');
    const ask = `echo ask 0 0 >> ${join(victim.dir, 'ask')}`;
    writeFileSync(script, `#!/bin/sh\nif [ "$CRTOOLS_SCRIPT_ACTION" = post-restore ]; then ${ask}; fi\n`, {
      mode: 0o755,
    });
    expect(await restoreApart(victim, there, '--action-script', script)).toMatchObject({ status: 0 });
    await victim.verdict({ limitMs: 30_000 });
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    expect(daemon.log).toMatch(/[1-9]\d+ times somebody waited/);
    expect(await dump.end()).toEqual({ status: 0, stderr: '' });
  }, 60_000);

  test(`pages of a chain: some in earlier images, some with the dump, round ${round}`, async () => {
    using victim = await Victim.start('scribbler', ['300']);
    const first = victim.dumpLine();
    first[0] = 'pre-dump';
    expect(await stasis(first)).toMatchObject({ status: 0 });
    using dump = await Giver.start(victim.dumpLine(['--lazy-pages', '--prev-images-dir', '../images-1']));
    using daemon = await LazyDaemon.start(victim.images, dump.options);
    expect(await restoreApart(victim, victim.images)).toMatchObject({ status: 0 });
    expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
    expect(await dump.end()).toEqual({ status: 0, stderr: '' });
    buryOrphans(victim.pid);
    await victim.verdict({ limitMs: 30_000 });
  }, 90_000);
}

test('a page server gives what is in images', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  const there = copied(victim);
  using server = await Giver.start(['page-server', '--lazy-pages', '-D', victim.images, '-o', 'server.log', '-v4']);
  using daemon = await LazyDaemon.start(there, server.options);
  await victim.restore(['--lazy-pages', '-W', there]);
  expect(await daemon.end()).toEqual({ status: 0, stderr: '' });
  expect(await server.end()).toEqual({ status: 0, stderr: '' });
  await victim.verdict();
}, 30_000);

test('images without the pages that the dump has kept', async () => {
  using victim = await Victim.start('lazily');
  using dump = await Giver.start(victim.dumpLine(['--lazy-pages']));
  const plain = await stasis(['restore', '-D', victim.images, '-d', '--new-pidns', '--pidfile', 'pid']);
  expect(plain.status).toBe(1);
  expect(plain.stderr).toMatch(/pagemap-\d+\.img: the page at 0x[\da-f]+ is not in the images: the dump has kept it/);
  using daemon = await LazyDaemon.start(victim.images);
  expect(await restoreApart(victim, victim.images)).toMatchObject({ status: 1 });
  expect((await daemon.end()).stderr).toMatch(/not in the images: the dump has kept it/);
  dump.kill('SIGTERM');
  expect((await dump.end()).stderr).toMatch(/and its tree go on/);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('a daemon that goes away lets the dumped tree go on', async () => {
  using victim = await Victim.start('lazily', ['64']);
  using dump = await Giver.start(victim.dumpLine(['--lazy-pages']));
  using daemon = await LazyDaemon.start(victim.images, dump.options);
  daemon.kill();
  const { status, stderr } = await dump.end();
  expect(status).toBe(1);
  expect(stderr).toMatch(/the lazy-pages daemon at 127\.0\.0\.1:\d+: it has hung up before it had everything/);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('a dump that goes away: nothing is restored, or what it had kept raises SIGBUS', async () => {
  using victim = await Victim.start('lazily', ['64']);
  using dump = await Giver.start(victim.dumpLine(['--lazy-pages']));
  using daemon = await LazyDaemon.start(victim.images, dump.options);
  dump.kill();
  await dump.end();
  expect((await daemon.end()).stderr).toMatch(
    /the page server at 127\.0\.0\.1:\d+: it has hung up before everything was/,
  );
  const outcome = await restoreApart(victim, victim.images);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/no lazy-pages daemon listens there/);
  await victim.verdict({ limitMs: 20_000 });
}, 60_000);

test('nobody is asked who is not there', async () => {
  using victim = await Victim.start('heap');
  await victim.dump();
  const line = ['lazy-pages', '-D', victim.images, '--page-server', '--address', '127.0.0.1', '--port', '1'];
  const outcome = await stasis(line);
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toMatch(/the page server at 127\.0\.0\.1:1/);
  rmSync(join(victim.images, 'lazy-pages.socket'), { force: true });
  await victim.restore();
  await victim.verdict();
}, 30_000);
