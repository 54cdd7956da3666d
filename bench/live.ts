/**
 * Measures for how long `dump --leave-running` stops a process with much memory, which is idle or writes to a part of
 * it without a pause, in small and in huge pages; against the way in which all memory is stored while it is stopped
 * (that of Stasis when an action script is to be called at the end), and against a `criu` when there is one.
 *
 *     npm run build && node_modules/.bin/bun bench/live.ts [--criu PATH] [--runs N] [--sizes 64,1024,4096] \
 *         [--hot 0,5,50] [--pages small,huge] [--images DIR]
 *
 * Sizes are in MiB; `--hot` says how many of a thousand pages are written to. Shown are medians: the frozen time from
 * stats-dump, the whole command, and the longest time between two writes of the process while it ran.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const HOUSE = join(import.meta.dirname, '..');

const { values: options } = parseArgs({
  options: {
    criu: { type: 'string' },
    stasis: { type: 'string', default: join(HOUSE, 'dist/stasis') },
    runs: { type: 'string', default: '5' },
    sizes: { type: 'string', default: '64,1024,4096' },
    hot: { type: 'string', default: '0,5,50' },
    pages: { type: 'string', default: 'small,huge' },
    images: { type: 'string', default: existsSync('/dev/shm') ? '/dev/shm' : tmpdir() },
  },
});

interface Way {
  readonly name: string;
  readonly path: string;
  readonly extra: readonly string[];
}

const ways: Way[] = [
  { name: 'stasis', path: options.stasis, extra: [] },
  { name: 'stasis, stopped', path: options.stasis, extra: ['--action-script', '/bin/true'] },
];
if (options.criu) ways.push({ name: 'criu', path: options.criu, extra: [] });

const dir = mkdtempSync(join(options.images, 'stasis-live-'));
const program = join(dir, 'loads');
const gcc = spawnSync('gcc', ['-O2', '-pthread', '-static', '-o', program, join(HOUSE, 'bench/loads.c')]);
if (gcc.status !== 0) throw new Error(String(gcc.stderr));
let current: ChildProcess | undefined;
process.on('exit', () => {
  current?.kill('SIGKILL');
  rmSync(dir, { recursive: true, force: true });
});

const rows: string[][] = [];
for (const size of options.sizes.split(',')) {
  for (const pages of options.pages.split(',')) {
    for (const hot of options.hot.split(',')) rows.push(...(await measure(size, hot, pages)));
  }
}
console.log('| memory | written to | | frozen | whole command | longest gap between writes |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const row of rows) console.log(`| ${row.join(' | ')} |`);

/** A row for each way, of one process: ways take turns. */
async function measure(size: string, hot: string, pages: string): Promise<string[][]> {
  const output = join(dir, 'output');
  await start(['writer', size, hot, pages], output);
  const figures = ways.map(() => ({ frozen: [] as number[], whole: [] as number[], gap: [] as number[] }));
  for (let round = 0; round <= Number(options.runs); round++) {
    for (const [i, way] of ways.entries()) {
      await asked(output);
      const once = dump(way);
      const gap = await asked(output);
      // The first round warms the caches and does not count.
      if (round === 0) continue;
      figures[i]?.frozen.push(once.frozen);
      figures[i]?.whole.push(once.whole);
      figures[i]?.gap.push(gap / 1000);
    }
  }
  current?.kill('SIGKILL');
  await new Promise((resolve) => current?.on('exit', resolve));
  const title = [`${size} MiB, ${pages} pages`, `${Number(hot) / 10} %`];
  return figures.map(({ frozen, whole, gap }, i) => {
    const shown = hot === '0' ? '' : `${median(gap).toFixed(1)} ms`;
    return [...title, ways[i]?.name ?? '', `${median(frozen).toFixed(1)} ms`, `${median(whole).toFixed(0)} ms`, shown];
  });
}

/** Starts the process and waits until it has filled its memory. */
async function start(words: readonly string[], output: string): Promise<void> {
  writeFileSync(output, '');
  const out = openSync(output, 'a');
  current = spawn(program, words, { cwd: dir, detached: true, stdio: ['ignore', out, out] });
  closeSync(out);
  while (!readFileSync(output, 'utf8').includes('ready')) await pause(5);
}

/** Asks the process for the longest gap between two writes since it was asked before: microseconds. */
async function asked(output: string): Promise<number> {
  const before = readFileSync(output, 'utf8').length;
  current?.kill('SIGUSR1');
  for (;;) {
    const said = readFileSync(output, 'utf8').slice(before);
    if (said.endsWith('\n')) return Number(said.split(' ')[0]);
    await pause(5);
  }
}

function dump({ path, extra, name }: Way): { readonly frozen: number; readonly whole: number } {
  const images = join(dir, 'images');
  rmSync(images, { recursive: true, force: true });
  mkdirSync(images);
  const began = performance.now();
  const words = ['dump', '-t', String(current?.pid), '-D', images, '-o', 'dump.log', '-R', ...extra];
  const done = spawnSync(path, words, { encoding: 'utf8' });
  const whole = performance.now() - began;
  if (done.status !== 0) throw new Error(`${name}: ${done.stderr}`);
  const crit = spawnSync(options.stasis, ['crit', 'decode', '-i', join(images, 'stats-dump')], { encoding: 'utf8' });
  return { frozen: JSON.parse(crit.stdout).entries[0].dump.frozen_time / 1000, whole };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
