import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configFiles, parseConfig } from '../../../src/api/config.ts';
import type { Settings } from '../../../src/api/settings.ts';
import { StasisError } from '../../../src/base/errors.ts';
import { readCommandLine } from '../../../src/cli/commandline.ts';
import { disk } from '../../../src/kernel/disk.ts';

describe('the syntax of a line', () => {
  const cases: [line: string, name: string, value: string | undefined][] = [
    ['tcp-close', 'tcp-close', undefined],
    ['  tcp-close  ', 'tcp-close', undefined],
    ['tcp-close # and why', 'tcp-close', undefined],
    ['tcp-close#why', 'tcp-close', undefined],
    ['tcp-close\r', 'tcp-close', undefined],
    ['tree 5', 'tree', '5'],
    ['tree\t5', 'tree', '5'],
    ['tree   5  # the one', 'tree', '5'],
    ['tree 5#the one', 'tree', '5'],
    ['verbosity=4', 'verbosity', '4'],
    ['external mnt[/a=b]:c', 'external', 'mnt[/a=b]:c'],
    ['external "with spaces"', 'external', 'with spaces'],
    ['external "a \\"b\\" c" # d', 'external', 'a "b" c'],
    ['external "a # b"', 'external', 'a # b'],
    ['external a\\"b', 'external', 'a"b'],
    ['external ""', 'external', ''],
    ['external "\\"', 'error', undefined],
    ['external "', 'error', undefined],
    ['external "a', 'error', undefined],
    ['external "a" b', 'error', undefined],
    ['external a b', 'error', undefined],
    ['--tree 5', 'error', undefined],
    ['tree=5 6', 'error', undefined],
  ];
  test.each(cases)('%s', (line, name, value) => {
    if (name !== 'error') return expect(parseConfig(line, 'f')).toEqual([{ name, value, at: 'f:1' }]);
    expect(() => parseConfig(`\n${line}`, 'f')).toThrow(StasisError);
    return expect(() => parseConfig(`\n${line}`, 'f')).toThrow(/^f:2: /);
  });

  test('empty lines and comments', () => {
    expect(parseConfig('\n  \n# a\n   # b\n\ntree 5\n', 'f')).toEqual([{ name: 'tree', value: '5', at: 'f:6' }]);
  });
});

describe('which files', () => {
  const env = { HOME: '/home/u', CRIU_CONFIG_FILE: '/env.conf' };
  const paths = (choice: Parameters<typeof configFiles>[0]): string[] => configFiles(choice).map((f) => f.path);

  test('the order', () => {
    expect(paths({ env })).toEqual(['/etc/criu/default.conf', '/home/u/.criu/default.conf', '/env.conf']);
    expect(paths({ env: {} })).toEqual(['/etc/criu/default.conf']);
  });
  test('--config and --no-default-config switch the default files off', () => {
    expect(paths({ env, file: '/x' })).toEqual(['/env.conf', '/x']);
    expect(paths({ env, noDefaults: true })).toEqual(['/env.conf']);
  });
  test('only that of --config must exist', () => {
    expect(configFiles({ env, file: '/x' })).toEqual([
      { path: '/env.conf', mustExist: false },
      { path: '/x', mustExist: true },
    ]);
  });
});

describe('files and the command line together', () => {
  let dir = '';
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'stasis-config-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  function file(text: string): string {
    const path = join(dir, 'test.conf');
    writeFileSync(path, text);
    return path;
  }

  function settings(args: string[], env: Record<string, string> = {}): Settings {
    const asked = readCommandLine(args, env);
    if (asked.action !== 'run') throw new Error(asked.action);
    if (asked.refusal) throw asked.refusal;
    return asked.invocation.settings;
  }

  test('the command line wins, lists grow', () => {
    const path = file('timeout 5\nghost-limit 2M\nexternal a\nshell-job\nverbosity 4\nmanage-cgroups full\n');
    expect(
      settings(['dump', '-t1', '--config', path, '--timeout', '7', '--external', 'b', '--no-shell-job']),
    ).toMatchObject({
      timeout: 7,
      ghostLimit: 2 << 20,
      external: ['a', 'b'],
      shellJob: false,
      verbosity: 4,
      manageCgroups: 'full',
    });
  });
  test('--config=FILE and an abbreviation of it', () => {
    const path = file('timeout 5');
    expect(settings(['dump', '-t1', `--config=${path}`]).timeout).toBe(5);
    expect(settings(['dump', '-t1', '--conf', path]).timeout).toBe(5);
  });
  test('CRIU_CONFIG_FILE, before --config', () => {
    const env = { CRIU_CONFIG_FILE: file('timeout 5\njson') };
    expect(settings(['dump', '-t1', '--no-default-config'], env)).toMatchObject({ timeout: 5, json: true });
    const other = join(dir, 'other.conf');
    writeFileSync(other, 'timeout 6');
    expect(settings(['dump', '-t1', '--config', other], env)).toMatchObject({ timeout: 6, json: true });
  });
  test('a missing file matters only when named by --config', () => {
    expect(settings(['check', '--no-default-config'], { CRIU_CONFIG_FILE: join(dir, 'none') }).timeout).toBe(10);
    expect(() => settings(['check', '--config', join(dir, 'none')])).toThrow(
      /none: the configuration file cannot be read/,
    );
  });
  test('a default file that may not be read is passed over, one that was named is not', () => {
    // Root, as which tests run, may read everything.
    const denied = () => {
      throw Object.assign(new Error('denied'), { code: 'EACCES' });
    };
    const read = spyOn(disk, 'readText').mockImplementation(denied);
    try {
      expect(settings(['check'], { HOME: '/root' }).timeout).toBe(10);
      expect(() => settings(['check'], { CRIU_CONFIG_FILE: '/x' })).toThrow(/EACCES/);
      expect(() => settings(['check', '--config', '/x'])).toThrow(/EACCES/);
    } finally {
      read.mockRestore();
    }
  });
  test('a directory is no configuration file', () => {
    expect(() => settings(['check', '--no-default-config'], { CRIU_CONFIG_FILE: dir })).toThrow(StasisError);
  });

  const mistakes: [text: string, message: RegExp][] = [
    ['\nbogus', /test\.conf:2: --bogus: unknown option/],
    ['no-tree', /test\.conf:1: --no-tree: unknown option/],
    ['leave', /test\.conf:1: --leave: is ambiguous/],
    ['shell-job yes', /test\.conf:1: shell-job: takes no value/],
    ['tree', /test\.conf:1: tree: needs a value/],
    ['#\ntree x', /test\.conf:2: tree: cannot be "x"/],
    ['allow-uprobes', /test\.conf:1: allow-uprobes: not built yet for dump/],
  ];
  test.each(mistakes)('%s', (text, message) => {
    expect(() => settings(['dump', '-t1', '--config', file(text)])).toThrow(message);
  });

  test('what only the command line can say is noted', () => {
    const asked = readCommandLine(['check', '--config', file('no-default-config\n')], {});
    expect(asked.action === 'run' && asked.invocation.notes).toEqual([
      expect.stringMatching(/:1: no-default-config has no effect/),
    ]);
  });
  test('help in a file is help', () => {
    expect(readCommandLine(['check', '--config', file('help')], {}).action).toBe('help');
    expect(readCommandLine(['--config', file('"bad'), '--help'], {}).action).toBe('help');
  });
});
