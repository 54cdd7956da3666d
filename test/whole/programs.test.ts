/**
 * Real programs, each with work whose result is known from a run that nobody disturbed, taken through cycles of dump
 * and restore: `STASIS_CYCLES=50` for the proof, few for every day.
 */
import { describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';
import { stasisCommand } from './kit/stasis.ts';
import { Terminal } from './kit/terminal.ts';
import { until } from './kit/until.ts';
import { goOn, Victim } from './kit/victim.ts';

const CYCLES = Number(process.env.STASIS_CYCLES ?? 5);
/** Between two dumps a program runs for so many milliseconds. */
const RUN_MS = 25;
const LIMIT = 60_000 + CYCLES * 3000;

const WORDS = 'time stands still while the task sleeps in its images and nobody can tell how long it was gone'.split(
  ' ',
);

/** Text with lines of several words, always the same. */
function text(lines: number): string {
  let state = 12345;
  const out: string[] = [];
  for (let n = 0; n < lines; n++) {
    const line: string[] = [String(n)];
    for (let w = 0; w < 8; w++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      line.push(WORDS[(state >>> 16) % WORDS.length] ?? '');
    }
    out.push(line.join(' '));
  }
  return `${out.join('\n')}\n`;
}

interface Work {
  /** The command; SOURCE and TARGET stand for the files. */
  readonly command: (source: string, target: string) => string[];
  /** Given at standard input: how much is there to do for one unit of work. */
  readonly input?: (units: number) => string;
  readonly lines?: (units: number) => number;
}

const program = (name: string): string => join(HOUSE, 'test/programs', name);

const WORKS: Readonly<Record<string, Work>> = {
  python3: { command: (source, target) => [python(), program('work.py'), source, target] },
  perl: { command: (source, target) => ['perl', program('work.pl'), source, target] },
  gawk: { command: (source, target) => ['gawk', '-v', `target=${target}`, '-f', program('work.awk'), source] },
  bash: { command: (source, target) => ['bash', program('work.sh'), source, target] },
  bc: {
    command: () => ['bc', '-lq'],
    input: (units) =>
      `define f(n) { auto i, s\n s = 0\n for (i = 1; i <= n; i++) s += e(1 / i) * s(i) / i\n return s }\nscale = 60\nf(${units})\nprint "done\\n"\nquit\n`,
  },
};

/** Python itself: the `python3` of a version manager is a script that starts others. */
function python(): string {
  return spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout.trim();
}

/** Runs a program undisturbed. */
function plainly(work: Work, units: number, folder: string): { output: string; target: string; ms: number } {
  const { source, target, input } = prepare(work, units, folder);
  const [file = '', ...args] = work.command(source, target);
  const began = performance.now();
  const done = spawnSync(file, args, { input: readFileSync(input), encoding: 'utf8', cwd: folder });
  const ms = performance.now() - began;
  if (done.status !== 0) throw new Error(`${file}: ${done.error ?? done.stderr}`);
  return { output: done.stdout, target: read(target), ms };
}

function prepare(work: Work, units: number, folder: string) {
  const source = join(folder, 'source');
  const target = join(folder, 'target');
  const input = join(folder, 'input');
  writeFileSync(source, text(work.input ? 1 : units));
  writeFileSync(input, work.input?.(units) ?? '');
  writeFileSync(target, '');
  return { source, target, input };
}

function read(path: string): string {
  return readFileSync(path, 'utf8');
}

/** How many units of work take long enough for all cycles, on a slow machine too: it runs on while a dump starts. */
function enough(work: Work, folder: string): number {
  const wanted = (CYCLES + 3) * (RUN_MS + 12) * 6;
  for (let units = 50; ; ) {
    const { ms } = plainly(work, units, folder);
    if (ms >= wanted) return units;
    units = Math.ceil(units * Math.min(8, Math.max(1.3, (wanted / Math.max(ms - 15, 1)) * 1.2)));
  }
}

describe('as a daemon', () => {
  for (const [name, work] of Object.entries(WORKS)) {
    test(
      `${name}: ${CYCLES} cycles`,
      async () => {
        const folder = mkdtempSync(join(tmpdir(), 'stasis-test-'));
        try {
          const units = enough(work, folder);
          const expected = plainly(work, units, folder);
          const { source, target, input } = prepare(work, units, folder);
          using victim = await Victim.run(work.command(source, target), { silent: true, input });
          for (let cycle = 1; cycle <= CYCLES; cycle++) {
            await goOn(RUN_MS * (0.5 + Math.random()));
            if (!victim.alive()) throw new Error(`ended before cycle ${cycle}: ${victim.output()}${victim.errors()}`);
            await victim.cycle();
          }
          await victim.waitFor(/done/, 60_000);
          await victim.waitGone(5000);
          expect(victim.errors()).toBe('');
          expect(victim.output() === expected.output).toBe(true);
          expect(read(target) === expected.target).toBe(true);
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      },
      LIMIT,
    );
  }
});

test(
  `a job of a shell, on its terminal: ${CYCLES} cycles`,
  async () => {
    const work = WORKS.bash as Work; // it is in the table
    const folder = mkdtempSync(join(tmpdir(), 'stasis-test-'));
    const stasis = stasisCommand().join(' ');
    using terminal = new Terminal(folder);
    let pid = 0;
    try {
      const units = enough(work, folder);
      const expected = plainly(work, units, folder);
      const { source, target } = prepare(work, units, folder);
      await terminal.see(/\$ /);
      terminal.type(`TELL=yes bash -c 'echo job $$; . "$0"' ${program('work.sh')} ${source} ${target}\n`);
      pid = Number((await terminal.see(/\njob (\d+)\r/))[1]);
      for (let cycle = 1; cycle <= CYCLES; cycle++) {
        await terminal.see(/at \d+\r/);
        const images = join(folder, `images-${cycle}`);
        const dump = spawnSync('sh', [
          '-c',
          `mkdir ${images} && ${stasis} dump -j -t ${pid} -D ${images} -o dump.log -v4`,
        ]);
        expect(dump.stderr.toString()).toBe('');
        expect(dump.status).toBe(0);
        // The shell, or the restore before this one, sees the job end.
        await terminal.see(/\$ /);
        terminal.type(`${stasis} restore -j -D ${images} -o restore.log -v4\n`);
      }
      await terminal.see(/at \d+\r/);
      const last = (await terminal.see(/done[^\r]*/, 60_000))[0];
      await terminal.see(/\$ /);
      expect(`${last}\n`).toBe(expected.output);
      expect(read(target) === expected.target).toBe(true);
    } finally {
      endJob(pid, folder);
      rmSync(folder, { recursive: true, force: true });
    }
  },
  LIMIT,
);

test('the terminal still controls a restored job: control-C ends it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'stasis-test-'));
  const stasis = stasisCommand().join(' ');
  using terminal = new Terminal(folder);
  let pid = 0;
  try {
    await terminal.see(/\$ /);
    terminal.type(
      `bash -c 'trap "echo interrupted; exit" INT; echo job $$; while :; do read -rt 1 x && echo "got $x"; done'\n`,
    );
    pid = Number((await terminal.see(/\njob (\d+)\r/))[1]);
    spawnSync('sh', ['-c', `mkdir ${folder}/i && ${stasis} dump -j -t ${pid} -D ${folder}/i -o dump.log -v4`]);
    await terminal.see(/\$ /);
    terminal.type(`${stasis} restore -j -D ${folder}/i -o restore.log -v4\n`);
    await until(
      () => (isJob(pid, folder) ? true : undefined),
      5000,
      () => `the job is not back: ${terminal.screen()}`,
    );
    terminal.type('hello\n');
    await terminal.see(/got hello/);
    terminal.type('\x03');
    await terminal.see(/interrupted/);
    await terminal.see(/\$ /);
    expect(isJob(pid, folder)).toBe(false);
  } finally {
    endJob(pid, folder);
    rmSync(folder, { recursive: true, force: true });
  }
}, 30_000);

/** Whether the job is there: a process of this ID in this folder. */
function isJob(pid: number, folder: string): boolean {
  return spawnSync('readlink', [`/proc/${pid}/cwd`], { encoding: 'utf8' }).stdout.trim() === folder;
}

function endJob(pid: number, folder: string): void {
  if (pid > 0 && isJob(pid, folder)) process.kill(pid, 'SIGKILL');
}
