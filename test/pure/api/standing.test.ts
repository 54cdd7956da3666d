/** What giving an option with a command comes to: every option of the table with every command that is built. */
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { carryOptions } from '../../../src/api/engine-options.ts';
import { OPTIONS, type OptionRow } from '../../../src/api/options.ts';
import { standingOf } from '../../../src/api/refusals.ts';
import { type Command, defaultSettings } from '../../../src/api/settings.ts';
import { readCommandLine } from '../../../src/cli/commandline.ts';

const SRC = new URL('../../../src', import.meta.url).pathname;

const COMMANDS = { dump: 'dump -t 1', restore: 'restore', check: 'check', exec: '-p 1 exec getpid' } as const;

/** An argument for each option that takes one; a value that is not the default. */
const ARGUMENTS: Readonly<Record<string, string>> = {
  tree: '2',
  pid: '2',
  timeout: '3',
  rounds: '3',
  'last-round': '1M',
  'ghost-limit': '2M',
  'file-validation': 'filesize',
  'network-lock': 'iptables',
  'unix-peer': 'reset',
  'inet-addr-map': '10.0.0.1=10.0.0.2',
  'veth-pair': 'a=b',
  external: 'file[1:2]',
  'inherit-fd': 'fd[1]:key',
  'join-ns': 'net:/x',
  'empty-ns': 'net',
  'ext-mount-map': 'a:b',
  'manage-cgroups': 'full',
  'pre-dump-mode': 'read',
  compress: 'zstd',
  port: '1',
  'ps-socket': '1',
  'status-fd': '1',
  'cpu-cap': 'cpu',
  close: '99',
  feature: 'clone3_set_tid',
  'ext-unix-sk': '5',
  verbosity: '4',
};

/** The option as one writes it so that it asks for something that is not the default. */
function written(option: OptionRow): string[] {
  const { long, arg, value } = option;
  if (value.type === 'flag' && defaultSettings()[value.key] === true) return [`--no-${long}`];
  if (arg === undefined) return [`--${long}`];
  return [`--${long}=${ARGUMENTS[long] ?? 'x'}`];
}

/** What becomes of a command line with the option. */
function given(option: OptionRow, command: keyof typeof COMMANDS): ReturnType<typeof readCommandLine> {
  const more: Readonly<Record<string, string[]>> = {
    'exec-cmd': ['--', 'true'],
    'restore-sibling': command === 'restore' ? ['-d'] : [],
  };
  const line = COMMANDS[command].split(' ');
  const rest = [...written(option), ...(command === 'exec' ? [] : (more[option.long] ?? []))];
  // The operands of exec end its options.
  const words = command === 'exec' ? [...line.slice(0, 2), ...rest, ...line.slice(2)] : [...line, ...rest];
  return readCommandLine(['--no-default-config', ...words], {});
}

const rows = OPTIONS.filter(({ value }) => value.type !== 'removed' && value.type !== 'command line');

for (const command of Object.keys(COMMANDS) as (keyof typeof COMMANDS)[]) {
  describe(command, () => {
    test.each(rows.map((row) => [row.long, row] as const))('--%s', (long, option) => {
      const request = given(option, command);
      if (request.action !== 'run') throw new Error(request.action);
      const { refusal, invocation } = request;
      switch (standingOf(option, command)) {
        case 'built':
          expect(refusal).toBeUndefined();
          expect(invocation.notes).toEqual([]);
          expect(invocation.settings).not.toEqual(plain(command));
          break;
        case 'later':
          expect(refusal).toMatchObject({ kind: 'unsupported', resource: `--${long}` });
          expect(refusal?.reason).toBe(`not built yet for ${command}`);
          break;
        case 'idle':
          expect(refusal).toBeUndefined();
          expect(option.idle?.because).toMatch(/^[^.]{10,}$/);
          expect(invocation.notes.join()).toContain(option.idle?.because ?? 'a reason');
          break;
        case 'foreign':
          expect(refusal).toMatchObject({ kind: 'usage' });
          expect(refusal?.message).toMatch(new RegExp(`^--(no-)?${long}: is for .*, not for ${command}$`));
      }
    });
  });
}

function plain(command: keyof typeof COMMANDS): unknown {
  const request = readCommandLine(['--no-default-config', ...COMMANDS[command].split(' ')], {});
  return request.action === 'run' ? request.invocation.settings : undefined;
}

/** What is declared for sockets and refused by name until it is built; whoever builds one takes it out. */
const UNBUILT: readonly string[] = [];

describe('what is built is read', () => {
  /** The files in which a command reads its settings. */
  const FILES: Readonly<Record<keyof typeof COMMANDS, readonly string[]>> = {
    dump: [
      ...['cli/dump.ts', 'api/figures.ts', 'api/workplace.ts', 'cli/main.ts', 'api/engine-options.ts'],
      ...['api/page-server-place.ts', 'api/keeping.ts'],
    ],
    restore: ['cli/restore.ts', 'api/figures.ts', 'api/workplace.ts', 'cli/main.ts', 'api/engine-options.ts'],
    check: ['cli/check.ts', 'api/workplace.ts', 'cli/main.ts', 'api/engine-options.ts', 'engine/check/examine.ts'],
    exec: ['cli/exec.ts', 'cli/main.ts'],
  };
  for (const [command, files] of Object.entries(FILES) as [Command & keyof typeof FILES, string[]][]) {
    const text = files.map((file) => readFileSync(join(SRC, file), 'utf8')).join('\n');
    test.each(rows.filter((row) => row.built.includes(command)).map((row) => [row.long, row] as const))(
      `${command} --%s`,
      (_long, { value }) => {
        const keys: readonly string[] = 'keys' in value ? value.keys : 'key' in value ? [value.key] : [];
        for (const key of keys) expect(text).toMatch(new RegExp(`\\b${key}\\b`));
      },
    );
  }

  test('what kinds are told has a kind that reads it', () => {
    const texts = ['engine', 'kinds', 'memory', 'paths', 'namespaces', 'network', 'support'].flatMap((layer) =>
      readdirSync(join(SRC, layer), { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts'))
        .map((file) => readFileSync(join(SRC, layer, file), 'utf8')),
    );
    const unread = Object.keys(carryOptions(defaultSettings())).filter(
      (key) => !texts.some((text) => new RegExp(`\\b${key}\\b`).test(text)),
    );
    expect(unread.filter((key) => !UNBUILT.includes(key))).toEqual([]);
  });
});

describe('configuration files', () => {
  const request = (text: string, command: string): ReturnType<typeof readCommandLine> => {
    const file = join(tmpdir(), `standing-${process.pid}.conf`);
    writeFileSync(file, text);
    try {
      return readCommandLine(['--config', file, ...command.split(' ')], {});
    } finally {
      rmSync(file);
    }
  };
  test('serve all commands: an option without a meaning for one is noted', () => {
    const asked = request('pidfile x\nfeature y\n', 'dump -t 1');
    expect(asked).toMatchObject({ refusal: undefined });
    expect(asked.action === 'run' && asked.invocation.notes).toEqual([
      expect.stringContaining('pidfile changes nothing here'),
      'feature has no meaning for dump',
    ]);
  });
  test('what is not built is refused there as well, with file and line', () => {
    const asked = request('# nothing\nallow-uprobes\n', 'dump -t 1');
    expect(asked.action === 'run' && asked.refusal?.message).toMatch(/conf:2: allow-uprobes: not built yet for dump$/);
  });
});

describe('values', () => {
  const refusal = (line: string): unknown => {
    const asked = readCommandLine(['--no-default-config', ...line.split(' ')], {});
    return asked.action === 'run' ? asked.refusal?.message : asked.action;
  };
  test('what only repeats the default is no request', () => {
    expect(refusal('dump -t 1 --pre-dump-mode splice --no-page-server --no-tls')).toBeUndefined();
    expect(refusal('restore --no-page-server --no-auto-dedup')).toBeUndefined();
    expect(refusal('restore --cpu-cap=none')).toBeUndefined();
  });
  test('what is more than the default is one', () => {
    expect(refusal('restore --pre-dump-mode read')).toBe('--pre-dump-mode: is for pre-dump and dump, not for restore');
    expect(refusal('restore --cpu-cap=cpu')).toBe('--cpu-cap: not built yet for restore');
  });
  test.each(['net[5]:x', 'pid[5]:x'])('--external %s is taken', (key) => {
    expect(refusal(`dump -t 1 --external ${key}`)).toBeUndefined();
  });
  test('several are told at once', () => {
    expect(refusal('restore --tls --page-server')).toBe('some options have no meaning here');
    expect(refusal('dump -t 1 --allow-uprobes --stream')).toBe('some options are not built yet');
  });
});
