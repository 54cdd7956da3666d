/**
 * Measures dump and restore, of one process of several sizes, of many tasks, of many threads, of a family that shares
 * memory copy-on-write and of containers, images on tmpfs; against a `criu` in the same run when there is one.
 *
 *     npm run build && node_modules/.bin/bun bench/run.ts [--criu PATH] [--runs N] [--markdown FILE] \
 *         [--only toy,1G,tasks100] [--against NAME=PATH]...
 *
 * Where others start processes at the same time, `unshare -pf --mount-proc` before it keeps process IDs from being
 * taken.
 *
 * All take turns, run for run, and medians of whole commands are shown: from the start of the program to its end, and
 * the processor time of it. `--against` names another build of Stasis: ratios to an older commit tell what a change
 * costs.
 * `--markdown` writes the table into a file, between the lines `<!-- bench -->` and `<!-- /bench -->` if it has them.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { syscall, trySyscall } from '../src/kernel/syscall.ts';

const HOUSE = join(import.meta.dirname, '..');
const PR_SET_CHILD_SUBREAPER = 36;
const RUSAGE_CHILDREN = -1;

const { values: options } = parseArgs({
  options: {
    criu: { type: 'string' },
    stasis: { type: 'string', default: join(HOUSE, 'dist/stasis') },
    runs: { type: 'string', default: '11' },
    only: { type: 'string' },
    against: { type: 'string', multiple: true, default: [] },
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
  /** The program, test/victims/eatmem.c or bench/loads.c, and its arguments. It writes a line when it is ready. */
  readonly command: readonly [program: 'eatmem' | 'loads', ...args: string[]];
  /** Of a series that shows growth: its name, and how many there are in this one. */
  readonly series?: readonly [name: string, count: number];
  /** Options of both programs, for dump and restore. */
  readonly options?: readonly string[];
  /** It is a container, whose root directory is {@link root}. */
  readonly isContainer?: boolean;
}

const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const dir = mkdtempSync(join(memory, 'stasis-bench-'));
/** The root directory of containers. */
const ROOT = join(dir, 'root');

/** What a container has, how many of it, and how it is called. */
const CONTAINERS = [
  ['tasks', 1, 'empty container'],
  ['tasks', 30, 'container of 30 processes'],
  ['mounts', 200, 'container with 200 mounts'],
  ['links', 20, 'container with 20 network devices'],
] as const;

const HOLD = '1000000';
const LOADS: readonly Load[] = [
  { name: 'toy', title: 'toy process', command: ['eatmem', '0', HOLD] },
  { name: '64M', title: '64 MiB', command: ['eatmem', '64', HOLD] },
  { name: '1G', title: '1 GiB', command: ['eatmem', '1024', HOLD] },
  ...many('tasks'),
  ...many('threads'),
  ...many('connections', ['--tcp-established', '--network-lock', 'nftables']),
  ...many('pairs'),
  ...many('descriptors', [], [100, 1000, 10_000]),
  ...CONTAINERS.map(([what, count, title]): Load => {
    const command: Load['command'] = ['loads', 'container', ROOT, what, String(count)];
    return { name: `container-${what}${count}`, title, command, isContainer: true };
  }),
  { name: 'prefork', title: '8 workers, 512 MiB copy-on-write', command: ['loads', 'prefork', '512', '8'] },
];

/** A series, of 10, 100 and 1,000 if no counts are given. */
function many(
  what: 'tasks' | 'threads' | 'connections' | 'pairs' | 'descriptors',
  options: readonly string[] = [],
  counts: readonly number[] = [10, 100, 1000],
): Load[] {
  return counts.map((count) => ({
    name: `${what}${count}`,
    title: `${count.toLocaleString('en')} ${what}`,
    command: ['loads', what, String(count)],
    series: [what, count],
    options,
  }));
}

const MEASURES = {
  dump: 'dump',
  dumpCpu: 'processor time of it',
  restore: 'restore',
  restoreCpu: 'processor time of it',
  running: 'dump --leave-running',
  frozen: 'frozen time of it',
} as const;
type Measure = keyof typeof MEASURES;

/** Milliseconds, a list for each measure. */
type Times = Record<Measure, number[]>;

/** What a family uses of the machine's memory, in MiB, before the dump and after the restore. */
type Use = Record<'before' | 'after', number>;

let current = 0;
process.on('exit', () => {
  if (current > 0) trySyscall('kill', -current, 9);
  spawnSync('umount', ['-q', ROOT]);
  rmSync(dir, { recursive: true, force: true });
});
// Restored processes become our children, so that their process IDs are free as soon as they end.
syscall('prctl', PR_SET_CHILD_SUBREAPER, 1);

const tools: Tool[] = [{ name: 'stasis', path: options.stasis }];
for (const other of options.against) {
  const [name = '', path = ''] = other.split('=', 2);
  tools.push({ name, path });
}
if (options.criu) tools.push({ name: 'criu', path: options.criu });
const chosen = options.only?.split(',');
const loads = LOADS.filter((load) => chosen?.includes(load.name) ?? true);
const binaries = { eatmem: compile('test/victims/eatmem.c'), loads: compile('bench/loads.c') };
if (loads.some(({ isContainer }) => isContainer)) makeRoot();
const results = new Map<Load, Map<Tool, Times>>();
const uses = new Map<Load, Map<Tool, Use>>();
for (const load of loads) results.set(load, await measure(load, Number(options.runs)));
report();

function compile(source: string): string {
  const path = join(dir, basename(source, '.c'));
  const gcc = spawnSync('gcc', ['-O2', '-pthread', '-static', '-o', path, join(HOUSE, source)], { encoding: 'utf8' });
  if (gcc.status !== 0) throw new Error(`gcc: ${gcc.error?.message ?? gcc.stderr}`);
  return path;
}

/** Makes the root directory of containers, a mount as `criu` wants it. */
function makeRoot(): void {
  for (const name of ['proc', 'mounts']) mkdirSync(join(ROOT, name), { recursive: true });
  const made = spawnSync('mount', ['--bind', ROOT, ROOT], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`mount: ${made.stderr}`);
  spawnSync('mount', ['--make-private', ROOT]);
  copyFileSync(binaries.loads, join(ROOT, 'loads'));
}

async function measure(load: Load, runs: number): Promise<Map<Tool, Times>> {
  const all = new Map<Tool, Times>();
  const empty = (): Times => ({ dump: [], dumpCpu: [], restore: [], restoreCpu: [], running: [], frozen: [] });
  for (const tool of tools) all.set(tool, empty());
  // The first round warms the caches and does not count.
  for (let round = 0; round <= runs; round++) {
    for (const [tool, times] of all) {
      const once = await cycleOrFailure(tool, load);
      if (round > 0) for (const key of Object.keys(MEASURES) as Measure[]) times[key].push(once[key]);
      if (process.stderr.isTTY) process.stderr.write(`\r${load.title}: ${round} of ${runs}   `);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
  return all;
}

/** As {@link cycle}; what is not ours may fail. */
async function cycleOrFailure(tool: Tool, load: Load): Promise<Record<Measure, number>> {
  try {
    return await cycle(tool, load);
  } catch (error) {
    if (tool === tools[0]) throw error;
    console.error(`${load.title}: ${error instanceof Error ? error.message : error}`);
    trySyscall('kill', -current, 9);
    bury(current);
    current = 0;
    return Object.fromEntries(Object.keys(MEASURES).map((key) => [key, Number.NaN])) as Record<Measure, number>;
  }
}

/** One family: dumped and left running, dumped and ended, restored, ended. */
async function cycle(tool: Tool, load: Load): Promise<Record<Measure, number>> {
  const images = join(dir, 'images');
  const child = await start(load);
  const pid = load.isContainer ? saidPid() : (child.pid ?? 0);
  current = pid;
  const ended = load.isContainer ? undefined : new Promise((resolve) => child.on('exit', resolve));
  const before = memoryUse(pid);
  const extra = load.options ?? [];
  const line = ['dump', '-t', String(pid), '-D', images, '-o', 'dump.log', ...extra];
  fresh(images);
  const running = command(tool, [...line, '-R']).wall;
  const frozen = frozenTime(images);
  fresh(images);
  const dump = command(tool, line);
  await ended;
  bury(pid);
  const pidfile = join(dir, 'pid');
  rmSync(pidfile, { force: true });
  const place = load.isContainer ? ['--root', ROOT] : [];
  const words = ['restore', '-D', images, '-o', 'restore.log', '-d', '--pidfile', pidfile, ...place, ...extra];
  const restore = command(tool, words);
  const restored = Number(readFileSync(pidfile, 'utf8'));
  current = restored;
  remember(load, tool, { before, after: memoryUse(restored) });
  syscall('kill', -restored, 9);
  bury(restored);
  current = 0;
  return { dump: dump.wall, dumpCpu: dump.cpu, restore: restore.wall, restoreCpu: restore.cpu, running, frozen };
}

/** The PID that the program has said. */
function saidPid(): number {
  return Number(readFileSync(join(dir, 'output'), 'utf8').split(' ')[1]);
}

/** Waits for the end of all children of a process group: its orphans became ours. */
function bury(group: number): void {
  while (trySyscall('wait4', -group, 0, 0, 0) > 0) {}
}

/** What the processes of a group use of the machine's memory, shared pages shared out (PSS), in MiB. */
function memoryUse(group: number): number {
  let kibibytes = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name) || groupOf(name) !== group) continue;
    kibibytes += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/smaps_rollup`, 'latin1'))?.[1] ?? 0);
  }
  return kibibytes / 1024;
}

function groupOf(pid: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[2]);
  } catch {
    return 0; // it has ended meanwhile
  }
}

function remember(load: Load, tool: Tool, use: Use): void {
  const byTool = uses.get(load) ?? new Map<Tool, Use>();
  uses.set(load, byTool.set(tool, use));
}

/** Starts the process, its output on a file, and waits until it has filled its memory. */
function start(load: Load): Promise<ChildProcess> {
  const output = join(dir, 'output');
  writeFileSync(output, '');
  const out = openSync(output, 'a');
  const [program, ...args] = load.command;
  const child = spawn(binaries[program], args, {
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

/** Runs a command and answers how long it took, and its processor time with that of its children, in milliseconds. */
function command(tool: Tool, args: readonly string[]): { readonly wall: number; readonly cpu: number } {
  const before = cpuOfChildren();
  const began = performance.now();
  const done = spawnSync(tool.path, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  const wall = performance.now() - began;
  if (done.status !== 0) throw new Error(`${tool.name} ${args.join(' ')}: ${done.stderr}`);
  return { wall, cpu: cpuOfChildren() - before };
}

/** What children that have been waited for have used, in milliseconds: getrusage(2). */
function cpuOfChildren(): number {
  const usage = new BigInt64Array(18); // struct rusage: ru_utime, ru_stime, each in seconds and microseconds
  syscall('getrusage', RUSAGE_CHILDREN, new Uint8Array(usage.buffer));
  const [user = 0n, userMicro = 0n, system = 0n, systemMicro = 0n] = usage;
  return Number(user + system) * 1000 + Number(userMicro + systemMicro) / 1000;
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
  const text = [...[timesTable(), growthTable(), memoryTable()].filter((table) => table !== ''), conditions()].join(
    '\n\n',
  );
  console.log(text);
  if (options.markdown) writeMarkdown(options.markdown, `${text}\n`);
}

function medians(load: Load, key: Measure): number[] {
  return [...(results.get(load)?.values() ?? [])].map((times) => median(times[key]));
}

function timesTable(): string {
  const ratioTo = ({ name }: Tool): string => (tools.length > 2 ? `to ${name}` : 'ratio');
  const header = ['', '', ...tools.map((tool) => tool.name), ...tools.slice(1).map(ratioTo)];
  const rows: string[][] = [];
  for (const load of results.keys()) {
    for (const key of Object.keys(MEASURES) as Measure[]) {
      const values = medians(load, key);
      const [ours = Number.NaN, ...others] = values;
      const ratios = others.map((theirs) => (Number.isNaN(theirs) ? '' : `${(ours / theirs).toFixed(2)} ×`));
      rows.push([load.title, MEASURES[key], ...values.map((value) => orFailure(value, 'ms', 1)), ...ratios]);
    }
  }
  return table(header, rows);
}

function orFailure(value: number, unit: string, digits: number): string {
  return Number.isNaN(value) ? 'fails' : `${value.toFixed(digits)} ${unit}`;
}

/** What one more costs, from each load of a series to the next: the same all the way where growth is linear. */
function growthTable(): string {
  const rows: string[][] = [];
  const done = [...results.keys()];
  for (const [i, load] of done.entries()) {
    const next = done[i + 1];
    if (!load.series || !next?.series || load.series[0] !== next.series[0]) continue;
    const [[what, few], [, many]] = [load.series, next.series];
    for (const key of ['dump', 'restore'] as const) {
      const [from, to] = [medians(load, key), medians(next, key)];
      const each = to.map((value, n) => ((value - (from[n] ?? Number.NaN)) / (many - few)) * 1000);
      rows.push([`${few} to ${many} ${what}`, MEASURES[key], ...each.map((value) => orFailure(value, 'µs', 0))]);
    }
  }
  return rows.length === 0 ? '' : table(['one more costs', '', ...tools.map((tool) => tool.name)], rows);
}

/** Memory in use of families that share it. */
function memoryTable(): string {
  const rows: string[][] = [];
  for (const [load, byTool] of uses) {
    if (load.name !== 'prefork') continue;
    for (const when of ['before', 'after'] as const) {
      const cells = [...byTool.values()].map((use) => `${use[when].toFixed(0)} MiB`);
      rows.push([load.title, when === 'before' ? 'before the dump' : 'after the restore', ...cells]);
    }
  }
  return rows.length === 0 ? '' : table(['memory in use', '', ...tools.map((tool) => tool.name)], rows);
}

/** A table in Markdown. */
function table(header: readonly string[], rows: readonly string[][]): string {
  const widths = header.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  return [line(header), rule, ...rows.map(line)].join('\n');
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
