/** Java programs of test/programs, compiled by the compiler that is part of the runtime environment. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HOUSE, WORK } from './house.ts';

/** The directory with the class files of test/programs/NAME.java. Throws what the compiler says. */
export function javaClasses(name: string): string {
  const classes = join(WORK, 'java');
  const source = join(HOUSE, 'test/programs', `${name}.java`);
  const compiled = statSync(join(classes, `${name}.class`), { throwIfNoEntry: false });
  if (compiled && compiled.mtimeMs > statSync(source).mtimeMs) return classes;
  mkdirSync(classes, { recursive: true });
  const javac = ['-m', 'jdk.compiler/com.sun.tools.javac.Main', '-Xlint', '-d', classes, source];
  const done = spawnSync('java', javac, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`javac ${name}.java: ${done.error?.message ?? done.stderr}`);
  return classes;
}
