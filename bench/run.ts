/**
 * Measures dump and restore, of a toy process, 64 MiB and 1 GiB, images on tmpfs; against a `criu` in the same run when there
 * is one.
 *
 *     npm run build && node_modules/.bin/bun bench/run.ts [--criu PATH] [--runs N] [--markdown FILE] [--only toy,64M,1G]
 *
 * The two take turns, run for run, and medians of whole commands are shown: from the start of the program to its end.
 * `--markdown` writes the table into a file, between the lines `<!-- bench -->` and `<!-- /bench -->` if it has them.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { syscall, trySyscall } from '../src/kernel/syscall.ts';

const HOUSE = join(import.meta.dirname, '..');
const PR_SET_CHILD_SUBREAPER = 36;

const { values: options } = parseArgs({
  options: {
    criu: { type: 'string' },
    stasis: { type: 'string', default: join(HOUSE, 'dist/stasis') },
    runs: { type: 'string', default: '11' },
    only: { type: 'string', default: 'toy,64M,1G' },
    markdown: { type: 'string' },
  },
});

interface Tool {
  readonly name: string;
  readonly path: string;
}

/** What is dumped. */
interface Load {
  readonly name: string;
  readonly title: string;
  readonly mebibytes: number;
}

const LOADS: readonly Load[] = [
  { name: 'toy', title: 'toy process', mebibytes: 0 },
  { name: '64M', title: '64 MiB', mebibytes: 64 },
  { name: '1G', title: '1 GiB', mebibytes: 1024 },
];

const MEASURES = {
  dump: 'dump',
  restore: 'restore',
  running: 'dump --leave-running',
  frozen: 'frozen time of it',
} as const;
type Measure = keyof typeof MEASURES;

/** Milliseconds, a list for each measure. */
type Times = Record<Measure, number[]>;

const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const dir = mkdtempSync(join(memory, 'stasis-bench-'));
let current = 0;
process.on('exit', () => {
  if (current > 0) trySyscall('kill', current, 9);
  rmSync(dir, { recursive: true, force: true });
});
// Restored processes become our children, so that their process IDs are free as soon as they end.
syscall('prctl', PR_SET_CHILD_SUBREAPER, 1);

const tools: Tool[] = [{ name: 'stasis', path: options.stasis }];
if (options.criu) tools.push({ name: 'criu', path: options.criu });
const loads = LOADS.filter((load) => options.only.split(',').includes(load.name));
const binary = compile();
const results = new Map<Load, Map<Tool, Times>>();
for (const load of loads) results.set(load, await measure(load, Number(options.runs)));
report();

function compile(): string {
  const path = join(dir, 'eatmem');
  const source = join(HOUSE, 'test/victims/eatmem.c');
  const gcc = spawnSync('gcc', ['-O2', '-o', path, source], { encoding: 'utf8' });
  if (gcc.status !== 0) throw new Error(`gcc: ${gcc.error?.message ?? gcc.stderr}`);
  return path;
}

async function measure(load: Load, runs: number): Promise<Map<Tool, Times>> {
  const all = new Map<Tool, Times>();
  for (const tool of tools) all.set(tool, { dump: [], restore: [], running: [], frozen: [] });
  // The first round warms the caches and does not count.
  for (let round = 0; round <= runs; round++) {
    for (const [tool, times] of all) {
      const once = await cycle(tool, load);
      if (round > 0) for (const key of Object.keys(MEASURES) as Measure[]) times[key].push(once[key]);
      if (process.stderr.isTTY) process.stderr.write(`\r${load.title}: ${round} of ${runs}   `);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
  return all;
}

/** One process: dumped and left running, dumped and ended, restored, ended. */
async function cycle(tool: Tool, load: Load): Promise<Record<Measure, number>> {
  const images = join(dir, 'images');
  const child = await start(load);
  const pid = child.pid ?? 0;
  current = pid;
  const ended = new Promise((resolve) => child.on('exit', resolve));
  fresh(images);
  const running = command(tool, ['dump', '-t', String(pid), '-D', images, '-o', 'dump.log', '-R']);
  const frozen = frozenTime(images);
  fresh(images);
  const dump = command(tool, ['dump', '-t', String(pid), '-D', images, '-o', 'dump.log']);
  await ended;
  const restore = command(tool, ['restore', '-D', images, '-o', 'restore.log', '-d']);
  syscall('kill', pid, 9);
  syscall('wait4', pid, 0, 0, 0);
  current = 0;
  return { dump, restore, running, frozen };
}

/** Starts the process, its output on a file, and waits until it has filled its memory. */
function start(load: Load): Promise<ChildProcess> {
  const output = join(dir, 'output');
  writeFileSync(output, '');
  const out = openSync(output, 'a');
  const child = spawn(binary, [String(load.mebibytes), '1000000'], {
    cwd: dir,
    detached: true,
    stdio: ['ignore', out, out],
  });
  closeSync(out);
  return new Promise((resolve) => {
    const look = setInterval(() => {
      if (readFileSync(output, 'utf8') === '') return;
      clearInterval(look);
      resolve(child);
    }, 2);
  });
}

function fresh(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
}

/** Runs a command and answers its wall time in milliseconds. */
function command(tool: Tool, args: readonly string[]): number {
  const began = performance.now();
  const done = spawnSync(tool.path, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  const took = performance.now() - began;
  if (done.status !== 0) throw new Error(`${tool.name} ${args.join(' ')}: ${done.stderr}`);
  return took;
}

/** From stats-dump, in milliseconds. */
function frozenTime(images: string): number {
  const crit = spawnSync(options.stasis, ['crit', 'decode', '-i', join(images, 'stats-dump')], { encoding: 'utf8' });
  if (crit.status !== 0) throw new Error(`crit: ${crit.stderr}`);
  return JSON.parse(crit.stdout).entries[0].dump.frozen_time / 1000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function report(): void {
  const header = ['', '', ...tools.map((tool) => tool.name), ...(tools.length > 1 ? ['ratio'] : [])];
  const rows: string[][] = [];
  for (const [load, byTool] of results) {
    for (const key of Object.keys(MEASURES) as Measure[]) {
      const medians = [...byTool.values()].map((times) => median(times[key]));
      const [ours = Number.NaN, theirs] = medians;
      const ratio = theirs === undefined ? [] : [`${(ours / theirs).toFixed(2)} ×`];
      rows.push([load.title, MEASURES[key], ...medians.map((value) => `${value.toFixed(1)} ms`), ...ratio]);
    }
  }
  const widths = header.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  const table = [line(header), rule, ...rows.map(line)].join('\n');
  const text = `${table}\n\n${conditions()}\n`;
  console.log(text);
  if (options.markdown) writeMarkdown(options.markdown, text);
}

function conditions(): string {
  const versions = tools.map((tool) => `${tool.name}: ${version(tool)}`).join('; ');
  const cpu = cpus()[0]?.model ?? 'unknown CPU';
  const size = Math.round(totalmem() / 2 ** 30);
  return `Medians of ${options.runs} runs each, whole commands, in turns; images on ${memory === '/dev/shm' ? 'tmpfs' : memory}. ${cpu}, ${cpus().length} cores, ${size} GiB, Linux ${release()}. ${versions}.`;
}

function version(tool: Tool): string {
  const said = spawnSync(tool.path, ['--version'], { encoding: 'utf8' }).stdout;
  return said.trim().replace(/\n/g, ', ');
}

function writeMarkdown(path: string, text: string): void {
  const before = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const begin = '<!-- bench -->';
  const end = '<!-- /bench -->';
  const from = before.indexOf(begin);
  const to = before.indexOf(end);
  const block = `${begin}\n${text}${end}`;
  const after =
    from >= 0 && to > from ? before.slice(0, from) + block + before.slice(to + end.length) : `${before}${block}\n`;
  writeFileSync(path, after);
}
