/** Compiles victims (test/victims/*.c) into test/.work/bin, when they are newer than what is there. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { HOUSE, WORK } from './house.ts';

const SOURCES = join(HOUSE, 'test/victims');
const BINARIES = join(WORK, 'bin');
const FLAGS = ['-O1', '-g', '-Wall', '-Wextra', '-Werror', '-Wno-missing-field-initializers', '-Wno-format-truncation'];
/** What a victim may need beyond the C library. */
const LIBRARIES = ['-lm', '-lrt', '-lpthread', '-lutil'];

function changed(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The path of a victim's executable. Throws what the compiler says. */
export function victimBinary(name: string): string {
  return compiled(name, SOURCES);
}

/** The path of a helper of the tests, compiled: test/programs/NAME.c. */
export function helperBinary(name: string): string {
  return compiled(name, join(HOUSE, 'test/programs'));
}

function compiled(name: string, folder: string): string {
  const source = join(folder, `${name}.c`);
  const binary = join(BINARIES, name);
  const headers = readdirSync(SOURCES)
    .filter((file) => file.endsWith('.h'))
    .map((header) => changed(join(SOURCES, header)));
  if (changed(binary) > Math.max(changed(source), ...headers)) return binary;
  mkdirSync(BINARIES, { recursive: true });
  // Tests may run in several processes: the name appears when the file is whole.
  const fresh = `${binary}.${process.pid}`;
  const gcc = spawnSync('gcc', [...FLAGS, '-o', fresh, source, ...LIBRARIES], { encoding: 'utf8' });
  if (gcc.status !== 0) throw new Error(`gcc ${name}.c: ${gcc.error?.message ?? gcc.stderr}`);
  renameSync(fresh, binary);
  return binary;
}

/** All victims there are. */
export function victimNames(): string[] {
  return readdirSync(SOURCES)
    .filter((file) => file.endsWith('.c'))
    .map((file) => basename(file, '.c'));
}

if (import.meta.main) for (const name of victimNames()) victimBinary(name);
