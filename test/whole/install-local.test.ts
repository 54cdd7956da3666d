/** npm run install-local: the program is in PATH under its names, and nothing of others is touched. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOUSE } from './kit/house.ts';

let prefix = '';
beforeAll(() => {
  prefix = mkdtempSync(join(tmpdir(), 'stasis-prefix-'));
});
afterAll(() => rmSync(prefix, { recursive: true }));

function install(...args: string[]): { status: number | null; text: string } {
  const script = join(HOUSE, 'scripts/install-local.mjs');
  const done = spawnSync('node', [script, '--prefix', prefix, ...args], { encoding: 'utf8', timeout: 30_000 });
  return { status: done.status, text: done.stdout + done.stderr };
}

function inPath(command: string, ...args: string[]): string {
  const env = { ...process.env, PATH: `${prefix}/bin:${process.env.PATH}` };
  return spawnSync(command, args, { encoding: 'utf8', env, timeout: 20_000 }).stdout;
}

const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [] : [entry.name],
  );

test('is in PATH under each name, again and again, and goes without a trace', () => {
  for (let round = 0; round < 2; round++) expect(install()).toMatchObject({ status: 0 });
  expect(inPath('stasis', '--version')).toStartWith('Stasis ');
  expect(inPath('criu', '--version')).toStartWith('Version: 4.2\n');
  expect(inPath('criu-ns', '--version')).toStartWith('Version: 4.2\n');
  expect(inPath('crit', '--help')).toStartWith('Usage: crit ');
  expect(readFileSync(join(prefix, 'share/man/man1/criu.1'), 'utf8')).toContain('.TH STASIS 1');
  expect(install('--remove').status).toBe(0);
  expect(filesBelow(prefix)).toEqual([]);
}, 60_000);

test('leaves a criu that is there alone', () => {
  mkdirSync(join(prefix, 'bin'), { recursive: true });
  const theirs = join(prefix, 'bin/criu');
  writeFileSync(theirs, 'the real one');
  const { status, text } = install();
  expect(status).toBe(1);
  expect(text).toContain(theirs);
  expect(existsSync(join(prefix, 'bin/stasis'))).toBe(false);
  install('--remove');
  expect(readFileSync(theirs, 'utf8')).toBe('the real one');
}, 60_000);

test('completions are what bash accepts, and complete commands, options and arguments', () => {
  rmSync(join(prefix, 'bin/criu'), { force: true });
  expect(install().status).toBe(0);
  const complete = (...words: string[]): string[] => {
    const script = [
      `source ${prefix}/share/bash-completion/completions/stasis`,
      `COMP_WORDS=(stasis ${words.map((word) => `'${word}'`).join(' ')})`,
      `COMP_CWORD=${words.length}`,
      '_stasis',
      `printf "%s\\n" "\${COMPREPLY[@]}"`,
    ].join('\n');
    const done = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect(done.stderr).toBe('');
    return done.stdout.split('\n').filter((word) => word !== '');
  };
  expect(complete('re')).toEqual(['restore']);
  expect(complete('restore', '--restore-')).toEqual(['--restore-detached', '--restore-sibling']);
  expect(complete('dump', '--restore-')).toEqual([]);
  expect(complete('dump', '-t', String(process.pid))).toEqual([String(process.pid)]);
  expect(complete('dump', '--file-validation', 'f')).toEqual(['filesize']);
  expect(complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
}, 60_000);
