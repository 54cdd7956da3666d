import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeLog, flushLog, logGoesToFile, openLog } from '../../../src/api/logfile.ts';
import { printable } from '../../../src/api/print.ts';
import { requirePrivileges } from '../../../src/api/privileges.ts';
import { forPeople } from '../../../src/api/report.ts';
import { defaultSettings, type Settings } from '../../../src/api/settings.ts';
import { openWorkplace } from '../../../src/api/workplace.ts';
import { asStasisError, ObstacleError, StasisError } from '../../../src/base/errors.ts';
import { logDebug, logError, logInfo, logWarn } from '../../../src/base/log.ts';

let dir = '';
const cwd = process.cwd();
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'stasis-cli-'));
});
afterEach(() => {
  closeLog();
  process.chdir(cwd);
  rmSync(dir, { recursive: true });
});

const read = (name: string): string => readFileSync(join(dir, name), 'utf8');

describe('the log file', () => {
  test('has CRIU’s line shape, and all lines once it is closed', () => {
    openLog(join(dir, 'log'), 4);
    logInfo('one');
    logDebug('two');
    logWarn('dump.ts', 'three');
    for (let i = 0; i < 5000; i++) logDebug(`line ${i} with some text to fill the buffer`);
    closeLog();
    const lines = read('log').split('\n');
    expect(lines).toHaveLength(5004);
    expect(lines[0]).toMatch(/^\(\d{2,}\.\d{6}\) one$/);
    expect(lines[2]).toMatch(/^\(\d{2,}\.\d{6}\) Warn {2}\(dump\.ts\): three$/);
  });
  test('lines are collected, errors written at once', () => {
    openLog(join(dir, 'log'), 3);
    logInfo('one');
    expect(read('log')).toBe('');
    logError('dump.ts', 'two');
    expect(read('log')).toMatch(/^\(.*\) one\n\(.*\) Error \(dump\.ts\): two\n$/);
    logInfo('three');
    flushLog();
    expect(read('log')).toMatch(/three\n$/);
  });
  test('is readable by its owner only, and begins anew', () => {
    writeFileSync(join(dir, 'log'), 'old');
    chmodSync(join(dir, 'log'), 0o600);
    openLog(join(dir, 'log'), 2);
    expect(read('log')).toBe('');
    openLog(join(dir, 'other'), 2);
    expect(statSync(join(dir, 'other')).mode & 0o777).toBe(0o600);
  });
  test('the level counts', () => {
    openLog(join(dir, 'log'), 1);
    logWarn('x', 'no');
    logError('x', 'yes');
    closeLog();
    expect(read('log')).toBe('Error (x): yes\n');
  });
  test('from level 3 on lines tell the time', () => {
    openLog(join(dir, 'log'), 3);
    logError('x', 'yes');
    closeLog();
    expect(read('log')).toMatch(/^\(\d{2,}\.\d{6}\) Error \(x\): yes\n$/);
  });
  test('a hostile name stays on its line', () => {
    openLog(join(dir, 'log'), 2);
    logError('x', 'a\nError (y): forged\x1b[2J');
    closeLog();
    expect(read('log').split('\n')).toHaveLength(2);
    expect(read('log')).toContain('a\\x0aError (y): forged\\x1b[2J');
  });
  test('bytes that are no UTF-8 come out as they were', () => {
    openLog(join(dir, 'log'), 2);
    logError('x', 'a\udcffb');
    closeLog();
    expect(readFileSync(join(dir, 'log')).includes(Buffer.of(0x61, 0xff, 0x62))).toBe(true);
  });
  test('one that cannot be created is a clear error', () => {
    expect(() => openLog(join(dir, 'none', 'log'), 2)).toThrow(/log: the log file cannot be created \(ENOENT\)/);
    expect(() => openLog(dir, 2)).toThrow(StasisError);
  });
  test('stdout counts as a file, stderr does not', () => {
    openLog('-', 0);
    expect(logGoesToFile()).toBe(true);
    openLog(undefined, 0);
    expect(logGoesToFile()).toBe(false);
  });
});

describe('the workplace', () => {
  const open = (settings: Partial<Settings>, notes: string[] = []): ReturnType<typeof openWorkplace> =>
    openWorkplace({ command: 'dump', settings: { ...defaultSettings(), ...settings }, operands: [], notes });

  test('the work directory is the images directory, and the log is there', () => {
    const place = open({ imagesDir: dir, logFile: 'dump.log', verbosity: 4 }, ['a note']);
    expect(place).toEqual({ imagesDir: dir, workDir: dir });
    expect(process.cwd()).toBe(dir);
    closeLog();
    expect(read('dump.log')).toMatch(/^\(.*\) Version: 4\.2 \(Stasis .*, dump, Bun .*\)\n\(.*\) a note\n$/);
  });
  test('relative directories count from where we were', () => {
    mkdirSync(join(dir, 'i'));
    mkdirSync(join(dir, 'w'));
    process.chdir(dir);
    expect(open({ imagesDir: 'i', workDir: 'w', logFile: 'x.log' })).toEqual({
      imagesDir: join(dir, 'i'),
      workDir: join(dir, 'w'),
    });
    closeLog();
    expect(read('w/x.log')).toBe('');
  });
  test('missing directories', () => {
    expect(() => open({ imagesDir: join(dir, 'none') })).toThrow(/none: the images directory does not exist/);
    expect(() => open({ imagesDir: dir, workDir: join(dir, 'none') })).toThrow(
      /none: the work directory does not exist/,
    );
    writeFileSync(join(dir, 'file'), '');
    expect(() => open({ imagesDir: join(dir, 'file') })).toThrow(/file: the images directory is no directory/);
  });
  test('C plugins are told of', () => {
    writeFileSync(join(dir, 'cuda_plugin.so'), '');
    open({ imagesDir: dir, logFile: 'x.log', libdir: dir });
    closeLog();
    expect(read('x.log')).toMatch(/Warn {2}\(workplace\.ts\): .*C plugins are not loaded: cuda_plugin\.so/);
    open({ imagesDir: dir, logFile: 'x.log', libdir: join(dir, 'none') });
    closeLog();
    expect(read('x.log')).toBe('');
  });
});

describe('errors', () => {
  const task = { pid: 17, comm: 'a\x07b' };
  test('one sentence and a hint', () => {
    const error = new StasisError({ kind: 'conflict', task, resource: 'fd 3', reason: 'is odd', remedy: 'try --even' });
    expect(forPeople(error)).toBe('Error: task 17 (a\\x07b): fd 3: is odd\nHint: try --even');
  });
  test('obstacles as a list, each with its remedy', () => {
    const obstacle = (reason: string, remedy?: string): StasisError =>
      new StasisError({ kind: 'unsupported', code: 'FILE_UNKNOWN', reason, remedy });
    expect(forPeople(new ObstacleError('cannot dump', [obstacle('a', 'do x'), obstacle('b')]))).toBe(
      'Error: cannot dump\n  - a\n    do x\n  - b',
    );
    expect(forPeople(new ObstacleError('cannot dump', [obstacle('a', 'do x'), obstacle('b', 'do x')]))).toBe(
      'Error: cannot dump\n  - a\n  - b\nHint: do x',
    );
  });
  test('many obstacles of one kind stand together above their remedy, the first of them by themselves', () => {
    const locks = Array.from({ length: 9 }, (_, i) => {
      return new StasisError({ kind: 'unsupported', code: 'FILE_LOCKS', reason: `lock ${i}`, remedy: '--file-locks' });
    });
    const other = new StasisError({ kind: 'unsupported', code: 'FILE_UNKNOWN', reason: 'other', remedy: 'close it' });
    const [first, ...others] = locks as [StasisError, ...StasisError[]];
    expect(forPeople(new ObstacleError('cannot dump', [first, other, ...others])).split('\n')).toEqual([
      'Error: cannot dump',
      ...[0, 1, 2, 3].map((i) => `  - lock ${i}`),
      '  - and 5 more like these (--json lists all of them)',
      '    --file-locks',
      '  - other',
      '    close it',
    ]);
  });
  test('a mistake of ours says so', () => {
    expect(forPeople(asStasisError(new TypeError('x is not a function')))).toMatch(
      /^Error: unexpected: x is not a function\nHint: this is a mistake in Stasis/,
    );
  });
  test('control characters', () => {
    expect(printable('a\tb\x7f\x9bé')).toBe('a\tb\\x7f\\x9bé');
  });
});

describe('privileges', () => {
  test('CRIU’s rule', () => {
    const admin = 1n << 21n;
    const checkpoint = 1n << 40n;
    requirePrivileges(false, { euid: 0, effective: admin });
    requirePrivileges(false, { euid: 0, effective: checkpoint });
    requirePrivileges(true, { euid: 1000, effective: checkpoint });
    expect(() => requirePrivileges(false, { euid: 1000, effective: admin })).toThrow(/not running as root/);
    expect(() => requirePrivileges(true, { euid: 0, effective: 0n })).toThrow(/neither CAP_SYS_ADMIN/);
  });
});
