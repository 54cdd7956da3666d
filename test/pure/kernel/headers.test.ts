/**
 * Every constant of `kernel/constants` and every layout of `kernel/layouts` against the kernel's own headers: a C
 * program prints what the compiler makes of them. What no header knows is listed in header-names.ts with the reason.
 * Where there is no compiler, nothing is compared.
 */
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LAYOUTS, NAMES, PREFIXES, SINCE, UNKNOWN } from './header-names.ts';
import { askHeaders, HAS_COMPILER, headerVersion } from './headers.ts';

const SRC = join(import.meta.dir, '../../../src');

/** Something the compiler is asked for, what it should say, and where we have it. */
interface Question {
  readonly ours: string;
  readonly c: string;
  readonly value: bigint;
}

interface Layout {
  readonly size: number;
  readonly offsets: Readonly<Record<string, number>>;
}

const isLayout = (value: unknown): value is Layout => typeof value === 'object' && value !== null && 'offsets' in value;
const isNumber = (value: unknown): value is number | bigint => typeof value === 'number' || typeof value === 'bigint';

/** The tables of an architecture. */
const OF_ARCH = ['numbers.ts', 'processor.ts', 'syscall-numbers.ts'];

/** What the modules of a folder, seen from src/kernel, export; functions and whether something is so are left out. */
async function exportsOf(folder: string, only?: readonly string[]): Promise<[name: string, value: unknown][]> {
  const names = only ?? readdirSync(join(SRC, 'kernel', folder)).filter((name) => name !== 'struct.ts');
  const modules = await Promise.all(names.map((name) => import(join(SRC, 'kernel', folder, name))));
  return modules
    .flatMap((module: Readonly<Record<string, unknown>>) => Object.entries(module))
    .filter(([, value]) => typeof value !== 'function' && typeof value !== 'boolean');
}

/** The questions about an exported constant: a number, an object of numbers, or names in the order of their numbers. */
function aboutConstant(name: string, value: unknown): Question[] {
  if (isNumber(value)) return [{ ours: name, c: NAMES[name] ?? name, value: BigInt(value) }];
  const prefix = PREFIXES[name] ?? `${name}_`;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) {
    return value.map((item: string, i) => ({ ours: `${name}.${item}`, c: prefix + item, value: BigInt(i) }));
  }
  const members = Object.entries(value as object);
  return members.map(([key, member]) => {
    if (!isNumber(member)) throw new Error(`${name}.${key} is no number: the walk does not know what to compare`);
    return { ours: `${name}.${key}`, c: NAMES[`${name}.${key}`] ?? prefix + key, value: BigInt(member) };
  });
}

/** The questions about an exported layout; undefined if the table does not name its type. */
function aboutLayout(name: string, layout: Layout): Question[] | undefined {
  const entry = LAYOUTS[name];
  if (!entry) return undefined;
  const { type, fields, isBeginning } = entry;
  const names = fields.split(' ');
  const ours = Object.entries(layout.offsets);
  expect({ name, fields: names.length }).toEqual({ name, fields: ours.length });
  const offsets = ours
    .map(([field, offset], i) => ({ ours: `${name}.${field}`, c: names[i] as string, value: BigInt(offset) }))
    .filter(({ c }) => c !== '-')
    .map((question) => ({ ...question, c: `__builtin_offsetof(${type}, ${question.c})` }));
  return isBeginning ? offsets : [{ ours: name, c: `sizeof(${type})`, value: BigInt(layout.size) }, ...offsets];
}

/** The reason for which no header knows a name of ours; undefined if there is none. */
const whyUnknown = (ours: string): string | undefined => UNKNOWN[ours] ?? UNKNOWN[`${ours.split('.')[0]}.*`];

/** The first version whose headers know a name, as 601 for 6.1. */
const sinceOf = (ours: string): number | undefined => {
  const [whole = ''] = ours.split('.');
  return SINCE[ours] ?? SINCE[`${whole}.*`] ?? SINCE[whole];
};

/** Compares, and sorts what is wrong by its kind. */
function compare(questions: readonly Question[]) {
  const found = askHeaders(questions.map(({ c }) => c));
  const version = headerVersion();
  const wrong: string[] = [];
  const unknown: string[] = [];
  for (const { ours, c, value } of questions) {
    const said = found.get(c);
    if (said !== undefined && said !== BigInt.asIntN(64, value)) {
      wrong.push(`${ours}: ${c} is ${said}, not ${value}`);
    }
    // Headers older than those of Debian 12 may lack anything.
    if (said !== undefined || whyUnknown(ours) || version < 601 || (sinceOf(ours) ?? 0) > version) continue;
    unknown.push(`${ours}: no header has ${c}`);
  }
  // Newer headers may know what these did not.
  const stale = questions.filter(({ ours, c }) => version === 601 && UNKNOWN[ours] && found.has(c));
  return { wrong, unknown, stale: stale.map(({ ours }) => ours) };
}

describe.skipIf(!HAS_COMPILER)('as the headers have it', () => {
  test('every constant', async () => {
    const own = process.arch === 'x64' ? await exportsOf('../arch/x86-64', OF_ARCH) : [];
    const exported = [...(await exportsOf('constants')), ...(await exportsOf('layouts')), ...own];
    const constants = exported.filter(([, value]) => !isLayout(value));
    const questions = constants.flatMap(([name, value]) => aboutConstant(name, value));
    expect(questions.length).toBeGreaterThan(1000);
    expect(compare(questions)).toEqual({ wrong: [], unknown: [], stale: [] });
  }, 60_000);

  test('every layout', async () => {
    const exported = await exportsOf('layouts');
    const layouts = exported.flatMap(([name, value]) => (isLayout(value) ? [[name, value] as const] : []));
    const unnamed = layouts.filter(([name]) => !LAYOUTS[name] && !UNKNOWN[name]).map(([name]) => name);
    expect(unnamed).toEqual([]);
    const questions = layouts.flatMap(([name, layout]) => aboutLayout(name, layout) ?? []);
    expect(compare(questions)).toEqual({ wrong: [], unknown: [], stale: [] });
  }, 60_000);

  test('the lists of this test name nothing that is not there', async () => {
    const own = await exportsOf('../arch/x86-64', OF_ARCH);
    const exported = [...(await exportsOf('constants')), ...(await exportsOf('layouts')), ...own];
    const names = new Set(
      exported.flatMap(([name, value]) => {
        const members = isLayout(value) ? value.offsets : isNumber(value) ? {} : (value as object);
        const keys = Array.isArray(members) ? members : Object.keys(members);
        return [name, `${name}.*`, ...keys.map((key: string) => `${name}.${key}`)];
      }),
    );
    const listed = [LAYOUTS, NAMES, PREFIXES, SINCE, UNKNOWN].flatMap((list) => Object.keys(list));
    expect(listed.filter((name) => !names.has(name))).toEqual([]);
  });
});

/** The source files of a layer and below it, as path and text. */
function sources(): [file: string, text: string][] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => [file, readFileSync(join(SRC, file), 'utf8')]);
}

describe('nowhere else', () => {
  test('layouts are declared and exported in kernel/layouts', () => {
    const stray = sources().filter(([file, text]) =>
      file.startsWith('kernel/layouts/')
        ? /^const \w+ = struct\(/m.test(text)
        : /\bstruct\(/.test(withoutComments(text)),
    );
    expect(stray.map(([file]) => file).filter((file) => file !== 'kernel/layouts/struct.ts')).toEqual([]);
  });

  // A constant is one of the kernel's if a header has its name and its value.
  test.skipIf(!HAS_COMPILER)(
    'constants of the kernel are typed in kernel/constants',
    () => {
      const typed = sources()
        .filter(([file]) => !/^(kernel\/(constants|layouts)|arch|images)\//.test(file))
        .flatMap(([file, text]) => constantsIn(text).map(({ c, value }) => ({ ours: `${file}: ${c}`, c, value })));
      expect(typed.length).toBeGreaterThan(100);
      const found = askHeaders(typed.map(({ c }) => c));
      expect(typed.filter(({ c, value }) => found.get(c) === value).map(({ ours }) => ours)).toEqual([]);
    },
    60_000,
  );
});

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}

const NUMBER = String.raw`-?(?:0x[\da-f_]+|0o[0-7_]+|[\d_]+)n?|1n? << \d+n?`;

/** Numbers that a source text gives names in capitals: `const NAME = 1`, and `const NAME = { KEY: 1 }` as NAME_KEY. */
function constantsIn(source: string): { c: string; value: bigint }[] {
  const text = withoutComments(source);
  const single = [...text.matchAll(new RegExp(`const ([A-Z][A-Z0-9_]*)(?:: \\w+)? = (${NUMBER});`, 'gi'))]
    .filter(([, name = '']) => name === name.toUpperCase())
    .map(([, name = '', value = '']) => ({ c: name, value: parse(value) }));
  const objects = [...text.matchAll(/const ([A-Z][A-Z0-9_]*)(?:: [^=]+)? = \{([^{}]*)\}/g)].flatMap(
    ([, name, body = '']) =>
      [...body.matchAll(new RegExp(`\\b([A-Z][A-Z0-9_]*): (${NUMBER})[,\\s]`, 'gi'))].map(([, key, value = '']) => ({
        c: `${name}_${key}`,
        value: parse(value),
      })),
  );
  return [...single, ...objects];
}

function parse(text: string): bigint {
  const [base = '', shift = '0'] = text.replace(/[n_]/g, '').split(' << ');
  const value = base.startsWith('-') ? -BigInt(base.slice(1)) : BigInt(base);
  return value << BigInt(shift);
}
