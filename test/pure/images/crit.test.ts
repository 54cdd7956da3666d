/** The crit command, as a program. */
import { afterAll, describe, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FIXTURES } from './fixtures.ts';

const dir = mkdtempSync(join(tmpdir(), 'stasis-crit-'));
const image = `${FIXTURES}tree/files.img`;
const program = `import { main } from '${new URL('../../../src/cli/main.ts', import.meta.url).pathname}';
process.exitCode = await main(process.argv.slice(1), 'crit');`;

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function crit(
  args: string[],
  input?: Uint8Array | string,
): { code: number | null; out: string; err: string; raw: Buffer } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', program, '--', ...args], {
    input: input ?? '',
    timeout: 20_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  return { code: status, out: stdout.toString(), err: stderr.toString(), raw: stdout };
}

describe('crit', () => {
  test('decode and encode, by files and by streams', () => {
    const bytes = readFileSync(image);
    expect(crit(['decode', '-i', image, '-o', `${dir}/a.json`])).toMatchObject({ code: 0, out: '', err: '' });
    const streamed = crit(['decode'], bytes);
    expect(streamed.out).toBe(`${readFileSync(`${dir}/a.json`, 'utf8')}\n`);
    expect(crit(['encode', '--in', `${dir}/a.json`, '--out', `${dir}/a.img`]).code).toBe(0);
    expect(readFileSync(`${dir}/a.img`)).toEqual(bytes);
    expect(crit(['encode'], streamed.out).raw).toEqual(bytes);
    const pretty = crit(['decode', '--pre', `--in=${image}`]);
    expect(pretty.out).toStartWith(
      '{\n    "magic": "FILES",\n    "entries": [\n        {\n            "type": "REG",\n',
    );
    expect(crit(['encode'], pretty.out).raw).toEqual(bytes);
  });

  test('show', () => {
    const queue = `${FIXTURES}single/sk-queues.zdtm-h-scm01.img`;
    expect(crit(['show', queue]).out).toContain('"extra": "');
    expect(crit(['show', '--nopl', queue]).out).toMatch(/"extra": "\.\.\. <\d+B>"/);
  });

  test('info', () => {
    expect(crit(['info', `${FIXTURES}tree/pstree.img`]).out).toBe('{\n    "magic": "PSTREE",\n    "count": 7\n}\n');
    expect(JSON.parse(crit(['info', `${FIXTURES}simple/pagemap-2437.img`]).out)).toMatchObject({
      magic: 'PAGEMAP',
      count: 13,
    });
  });

  for (const [set, view] of [
    ['tree', 'ps'],
    ['simple', 'ps'],
    ['simple', 'fds'],
    ['simple', 'mems'],
    ['simple', 'rss'],
  ] as const) {
    test(`x ${set} ${view}`, () => {
      expect(crit(['x', FIXTURES + set, view])).toMatchObject({
        code: 0,
        out: readFileSync(`${FIXTURES}${set}/crit-x-${view}.txt`, 'utf8'),
      });
    });
  }

  test('x of zombies', () => {
    expect(crit(['x', `${FIXTURES}tree`, 'fds'])).toMatchObject({ code: 0, err: '' });
  });

  test('what cannot be done is one line and an exit code', () => {
    writeFileSync(`${dir}/pages-1.img`, new Uint8Array(4096).fill(0x41));
    const raw = crit(['show', `${dir}/pages-1.img`]);
    expect(raw).toMatchObject({ code: 1, out: '' });
    expect(raw.err).toContain('Unknown magic 0x41414141');
    expect(crit(['decode', '-i', `${dir}/none`])).toMatchObject({ code: 1 });
    expect(crit(['encode', '-i', image]).code).toBe(1);
    expect(crit(['x', dir, 'ps']).code).toBe(1);
    expect(crit(['x', dir, 'pss']).code).toBe(2);
    expect(crit(['decode', '--nonsense']).code).toBe(2);
    expect(crit(['show']).code).toBe(2);
    expect(crit([]).code).toBe(1);
    for (const args of [['decode', '-i', `${dir}/none`], ['nonsense'], ['encode', '-i', image]]) {
      expect(crit(args).err).not.toMatch(/^\s+at /m);
    }
  });

  test('--version and --help', () => {
    expect(crit(['--version']).out).toBe('4.2\n');
    expect(crit(['--help'])).toMatchObject({ code: 0, err: '' });
    expect(crit(['decode', '--help'])).toMatchObject({ code: 0, err: '' });
  });
});
