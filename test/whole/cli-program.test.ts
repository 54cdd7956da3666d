/** The program from outside: its names, exit codes, output and log, as executable, from source and under Node. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const home = new URL('../..', import.meta.url).pathname;
const source = join(home, 'bin', 'stasis');
const built = join(home, 'dist', 'stasis');

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-program-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

function run(
  program: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; uid?: number; gid?: number } = {},
): Outcome {
  const done = spawnSync(program, args, { cwd: dir, encoding: 'utf8', timeout: 20_000, ...options });
  return { code: done.status, out: done.stdout, err: done.stderr };
}

const programs: [name: string, path: string, env: NodeJS.ProcessEnv][] = [['from source', source, process.env]];
if (existsSync(built)) programs.push(['the executable', built, process.env]);
if (existsSync(`${built}.mjs`)) programs.push(['under Node', source, { ...process.env, STASIS_RUNTIME: 'node' }]);

describe.each(programs)('%s', (_name, program, env) => {
  test('--version says our own first, and has the line of CRIU', () => {
    for (const flag of ['--version', '-V', '--vers']) {
      const { code, out, err } = run(program, [flag], { env });
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toMatch(/^Stasis \d+\.\d+\.\d+, .*\nVersion: 4\.2\n$/);
    }
  });

  test('help for one command, and completions', () => {
    for (const args of [
      ['dump', '--help'],
      ['help', 'dump'],
    ]) {
      const { code, out, err } = run(program, args, { env });
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out).toMatch(/^Usage: stasis dump -t PID /);
      expect(out).toContain('--leave-running');
      expect(out).not.toContain('--restore-detached');
    }
    expect(run(program, ['completion', 'bash'], { env }).out).toContain('complete -o filenames -F _stasis stasis criu');
    expect(run(program, ['help', 'restor'], { env }).err).toBe(
      'Error: restor: unknown command\nHint: did you mean restore?\n',
    );
  });

  test('called as criu and crit through links', () => {
    const bin = mkdtempSync(join(dir, 'bin-'));
    symlinkSync(program, join(bin, 'criu'));
    symlinkSync(program, join(bin, 'crit'));
    const path = { ...env, PATH: `${bin}:${env.PATH}` };
    expect(run('criu', ['--help'], { env: path }).out).toMatch(/^Usage: criu COMMAND/);
    // LXC and go-criu read this line, and LXC only if it is the first.
    expect(run(join(bin, 'criu'), ['--version'], { env }).out).toMatch(/^Version: 4\.2\nStasis: \d+\.\d+\.\d+\n$/);
    expect(run(join(bin, 'criu'), ['-V'], { env }).out).toMatch(/^Version: 4\.2\nStasis: /);
    expect(run('crit', ['--help'], { env: path }).out).toContain('crit');
  });

  const codes: [args: string[], code: number, err: RegExp][] = [
    [[], 1, /^Usage: stasis/],
    [['bogus'], 1, /^Error: bogus: unknown command\nHint: /],
    [['dump'], 1, /^Error: no process was named\n/],
    [['show'], 255, /crit show/],
    [['--help', 'dump'], 0, /^$/],
    [['dump', '-t', '1', '--allow-uprobes'], 1, /^Error: --allow-uprobes: not built yet for dump\nHint: /],
    [['dump', '-t', '1', '-D', '/none'], 1, /^Error: \/none: the images directory does not exist\nHint: /],
    [['dump', '-t', '1', '-o', '/none/x'], 1, /^Error: \/none\/x: the log file cannot be created \(ENOENT\)\nHint: /],
    [['lazy-pages'], 1, /^Error: .*inventory\.img: there is no inventory: not a folder of images, or /],
  ];
  test.each(codes)('%p', (args, code, err) => {
    const got = run(program, args, { env });
    expect(got.code).toBe(code);
    expect(got.err).toMatch(err);
  });

  test('--json gives an object', () => {
    const { code, out, err } = run(program, ['dump', '--json', '-t', '1', '--stream'], { env });
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(JSON.parse(err)).toMatchObject({ kind: 'unsupported', resource: '--stream' });
  });

  test('the log is there although the command never began', () => {
    const images = mkdtempSync(join(dir, 'images-'));
    const args = ['dump', '-D', images, '-o', 'dump.log', '-v4', '-t', '1', '--stream'];
    expect(run(program, args, { env }).code).toBe(1);
    expect(readFileSync(join(images, 'dump.log'), 'utf8')).toMatch(
      /\n\(\d\d\.\d{6}\) Error \(dump\.ts\): --stream: not built/,
    );
  });

  test('the current directory does not change what the program does', () => {
    const foreign = join(dir, 'foreign');
    mkdirSync(foreign, { recursive: true });
    writeFileSync(join(foreign, '.env'), 'CRIU_CONFIG_FILE=/proc/self/comm\n');
    writeFileSync(join(foreign, 'evil.ts'), 'console.log("EVIL");');
    writeFileSync(join(foreign, 'bunfig.toml'), 'preload = ["./evil.ts"]\n');
    writeFileSync(join(foreign, 'tsconfig.json'), '{"compilerOptions":{"paths":{"node:fs":["./evil.ts"]}}}');
    writeFileSync(join(foreign, 'package.json'), '{"imports":{"#x":"./evil.ts"},"type":"commonjs"}');
    const { code, out, err } = run(program, ['dump'], { env, cwd: foreign });
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^Error: no process was named\n/);
  });

  test('bad input never gives a stack trace', () => {
    for (const args of [['\u0000'.replace('\u0000', '\x01')], ['dump', '-t'], ['dump', '-t', '1', '--external', '']]) {
      const { code, err } = run(program, args, { env });
      expect(code).toBe(1);
      expect(err).not.toMatch(/^\s+at /m);
    }
  });
});

test('without privileges there is a clear error before any work', () => {
  if (!existsSync(built) || process.getuid?.() !== 0) return;
  const open = mkdtempSync('/tmp/stasis-nobody-');
  try {
    const { code, err } = run(built, ['dump', '-t', '1', '-o', 'x.log'], { cwd: open, uid: 65534 });
    expect(code).toBe(1);
    expect(err).toMatch(/^Error: neither CAP_SYS_ADMIN nor CAP_CHECKPOINT_RESTORE is there\nHint: run as root/);
  } finally {
    rmSync(open, { recursive: true });
  }
});

test('setuid it does nothing', () => {
  if (!existsSync(built) || process.getuid?.() !== 0) return;
  const place = mkdtempSync('/tmp/stasis-setuid-');
  try {
    chmodSync(place, 0o755);
    const program = join(place, 'stasis');
    copyFileSync(built, program);
    for (const bit of [0o4000, 0o2000]) {
      chmodSync(program, 0o755 | bit);
      for (const args of [['dump', '-t', '1'], ['check'], ['crit', 'decode', '-i', '/etc/shadow']]) {
        const { code, out, err } = run(program, args, { cwd: place, uid: 65534, gid: 65534 });
        expect({ code, out }).toEqual({ code: 1, out: '' });
        expect(err).toMatch(/^Error: Stasis does not run setuid or setgid.*\nHint: take the bits away/);
      }
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});

test('--version takes no longer than the runtime needs to start', () => {
  if (!existsSync(built)) return;
  const median = (command: string, args: string[]): number => {
    const times = Array.from({ length: 21 }, () => {
      const start = performance.now();
      run(command, args);
      return performance.now() - start;
    });
    return times.sort((a, b) => a - b)[10] ?? 0;
  };
  // 15 ms are plenty where the empty program takes 8; on a slow machine it takes longer itself.
  const empty = median(process.execPath, ['-e', '0']);
  expect(median(built, ['--version'])).toBeLessThan(Math.max(15, 1.3 * empty));
});
