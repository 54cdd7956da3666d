/**
 * Programs with threads and children, as people run them, taken through cycles of dump and restore of what was
 * restored, at random moments; then the result is checked. `STASIS_CYCLES=20` and `STASIS_JVM_MIB=1024` for the proof,
 * less for every day.
 */
import { expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Family } from './kit/family.ts';
import { HOUSE } from './kit/house.ts';
import { javaClasses } from './kit/java.ts';
import { goOn } from './kit/victim.ts';

const CYCLES = Number(process.env.STASIS_CYCLES ?? 3);
const JVM_MIB = Number(process.env.STASIS_JVM_MIB ?? 256);
const LIMIT = 90_000 + CYCLES * 10_000;

/** Lets a family run for a random time and takes it through a cycle, again and again. */
async function cycles(family: Family, runMs = 80): Promise<void> {
  for (let cycle = 1; cycle <= CYCLES; cycle++) {
    await goOn(10 + runMs * 2 * Math.random());
    if (!family.root.alive()) throw new Error(`ended before cycle ${cycle}: ${words(family)}`);
    await family.cycle();
  }
}

function words(family: Family): string {
  return family.root.output() + family.root.errors();
}

/** Python itself: the `python3` of a version manager is a script that starts others. */
function python(): string {
  return spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).stdout.trim();
}

const program = (name: string): string => join(HOUSE, 'test/programs', name);

/** Runs a program that ends when a file appears; its last line. */
async function untilTold(
  command: (until: string) => string[],
  runMs?: number,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'stasis-test-'));
  const enough = join(folder, 'enough');
  try {
    using family = await Family.run(command(enough), { limitMs: 60_000, env });
    await cycles(family, runMs);
    await goOn(50);
    writeFileSync(enough, '');
    const last = await family.root.waitFor(/^(done .*|FAIL.*)$/m, 60_000);
    expect(last).toStartWith('done');
    expect(await family.exitStatus(20_000)).toBe(0);
    expect(family.root.errors()).toBe('');
    return last;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The last line of a program that nobody disturbs. */
function plainly(command: readonly string[]): string {
  const [file = '', ...args] = command;
  const done = spawnSync(file, args, { encoding: 'utf8', cwd: tmpdir() });
  if (done.status !== 0) throw new Error(`${file}: ${done.error ?? done.stderr}`);
  return done.stdout.trim().split('\n').at(-1) ?? '';
}

/** How many rounds a program says it has made. */
const rounds = (last: string): string => last.split(' ')[1] ?? '';

test(
  `java, default collector, a heap of ${JVM_MIB} MiB: ${CYCLES} cycles`,
  async () => {
    const classes = javaClasses('Churn');
    const live = Math.floor(JVM_MIB * 0.65);
    const command = (until: string) => ['java', `-Xmx${JVM_MIB}m`, '-cp', classes, 'Churn', `${live}`, '4', until];
    const last = await untilTold(command, 200);
    expect(last).toBe(plainly(command(rounds(last))));
  },
  LIMIT * 2,
);

test(
  `node, files by io_uring: ${CYCLES} cycles`,
  async () => {
    const command = (until: string) => ['node', program('files.mjs'), until];
    await untilTold(command, 200, { UV_USE_IO_URING: '1' });
  },
  LIMIT,
);

test(
  `python3, threads: ${CYCLES} cycles`,
  async () => {
    const command = (until: string) => [python(), program('threads.py'), '6', until];
    const last = await untilTold(command);
    expect(last).toBe(plainly(command(rounds(last))));
  },
  LIMIT,
);

test(
  `a prefork family, shared memory and futexes: ${CYCLES} cycles`,
  async () => {
    await untilTold((until) => [python(), program('prefork.py'), '6', until]);
  },
  LIMIT,
);

/** What is done with a file, and how it is seen that the result is right. */
interface Filter {
  readonly command: (source: string, target: string) => string[];
  readonly right: (source: string, target: string) => boolean;
}

const FILTERS: Readonly<Record<string, Filter>> = {
  'xz -T2': {
    command: (source) => ['xz', '-T2', '-4', '--block-size=2MiB', '-kf', source],
    right: (source) => same('xz -dc "$1".xz | cmp - "$1"', source),
  },
  'sort --parallel=2, in memory': {
    command: (source, target) => ['sort', '--parallel=2', '-S2G', '-Vk3', '-o', target, source],
    right: (source, target) => same('LC_ALL=C sort --parallel=1 -Vk3 "$1" | cmp - "$2"', source, target),
  },
  'sort --parallel=2, with temporary files': {
    command: (source, target) => ['sort', '--parallel=2', '-S8M', '-T.', '-o', target, source],
    right: (source, target) => same('LC_ALL=C sort --parallel=1 "$1" | cmp - "$2"', source, target),
  },
};

function same(script: string, ...args: string[]): boolean {
  return spawnSync('sh', ['-c', script, 'sh', ...args], { stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

for (const [name, filter] of Object.entries(FILTERS)) {
  test(
    `${name}: ${CYCLES} cycles`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'stasis-test-'));
      const source = join(folder, 'source');
      const target = join(folder, 'target');
      try {
        makeEnough(source, filter.command(source, target));
        using family = await Family.run(filter.command(source, target), { silent: true, env: { LC_ALL: 'C' } });
        await cycles(family);
        expect(await family.exitStatus(LIMIT)).toBe(0);
        expect(words(family)).toBe('');
        expect(filter.right(source, target)).toBe(true);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    LIMIT,
  );
}

/** Makes a file that keeps a command busy for all cycles. */
function makeEnough(source: string, command: readonly string[]): void {
  const sample = 8;
  writeLines(source, sample);
  const [file = '', ...args] = command;
  // The shortest of some runs: one beside which others were running would make too little.
  let took = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3; run++) {
    const began = performance.now();
    const { status, stderr } = spawnSync(file, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
    if (status !== 0) throw new Error(`${file}: ${stderr}`);
    took = Math.min(took, performance.now() - began);
  }
  writeLines(source, Math.ceil((sample * (1000 + CYCLES * 200)) / took));
}

/** Writes a file of lines of four pseudo-random words, always the same. */
function writeLines(path: string, mebibytes: number): void {
  const words = new Uint32Array((1 << 20) / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state ^ (state >>> 15);
  }
  // Hexadecimal: something to compress; lines of some 40 characters.
  const hex = Buffer.from(words.buffer).toString('hex');
  const text = Buffer.from(hex.replace(/(.{9})(.{7})(.{11})(.{13})/g, '$1 $2 $3 $4\n'), 'latin1');
  const file = openSync(path, 'w');
  // Other lines from round to round, for the digits change places.
  const digits = Buffer.from('0123456789abcdef');
  for (let written = 0, round = 0; written < mebibytes << 20; round++) {
    const changed = Uint8Array.from({ length: 256 }, (_, code) => code);
    digits.forEach((digit, i) => {
      changed[digit] = digits[(i * 7 + round) % 16] ?? digit;
    });
    for (let i = 0; i < text.length; i++) text[i] = changed[text[i] ?? 0] ?? 0;
    written += writeSync(file, text);
  }
  closeSync(file);
}

const STRESSORS: Readonly<Record<string, readonly string[]>> = {
  cpu: ['--cpu', '2'],
  vm: ['--vm', '2', '--vm-bytes', '48m'],
  futex: ['--futex', '2'],
  signals: ['--signal', '1', '--sigpending', '1', '--sigsuspend', '1', '--sigq', '1', '--sigrt', '1'],
  timers: ['--timer', '1', '--itimer', '1', '--timerfd', '1', '--clock', '1'],
};

for (const [name, stressors] of Object.entries(STRESSORS)) {
  test(
    `stress-ng, ${name}: ${CYCLES} cycles`,
    async () => {
      const command = ['stress-ng', ...stressors, '--verify', '--timeout', '600', '--temp-path', '.'];
      using family = await Family.run(command, { silent: true });
      await goOn(300);
      await cycles(family);
      await goOn(200);
      process.kill(family.root.pid, 'SIGINT');
      const status = await family.exitStatus(30_000);
      expect(words(family)).not.toMatch(/fail|abort|error/i);
      expect(words(family)).toMatch(/successful run completed/);
      expect(status).toBe(0);
    },
    LIMIT,
  );
}
