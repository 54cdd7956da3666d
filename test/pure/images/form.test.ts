/** Our own JSON beside the images: what it must look like, and what is said of what does not. */
import { describe, expect, test } from 'bun:test';
import { StasisError } from '../../../src/base/errors.ts';
import { ImageError } from '../../../src/images/error.ts';
import {
  anything,
  decimal,
  list,
  object,
  oneOf,
  optional,
  readJson,
  readJsonLines,
  text,
  tuple,
  whole,
} from '../../../src/images/form.ts';
import { readManifest } from '../../../src/images/manifest.ts';
import { readOwnState } from '../../../src/images/own-files.ts';
import { thrownBy } from './fixtures.ts';

const bytes = (json: unknown): Uint8Array =>
  new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));
const form = object({ id: whole, name: optional(text), list: list(tuple(whole, decimal)), kind: oneOf('a', 'b') });

test('what has the form is read; members nobody knows are passed over', () => {
  const value = { id: 1, list: [[2, '-3']], kind: 'b', more: true };
  expect(readJson(form, bytes(value), 'x')).toEqual({ id: 1, list: [[2, '-3']], kind: 'b' });
  expect(
    readJsonLines(object({ a: anything }), bytes('{"a":1}\n\n{"a":null}\n'), 'x').map((line) => line.value),
  ).toEqual([{ a: 1 }, { a: null }]);
});

describe('errors name file and field', () => {
  const good = { id: 1, name: 'n', list: [[2, '3']], kind: 'a' };
  const cases: [string, unknown, string | undefined, RegExp][] = [
    ['no JSON', '{', undefined, /not JSON/],
    ['no object', [], undefined, /an object expected/],
    ['a missing member', { ...good, id: undefined }, 'id', /a value expected/],
    ['text for a number', { ...good, id: '1' }, 'id', /a whole number expected/],
    ['a fraction', { ...good, id: 1.5 }, 'id', /a whole number expected/],
    ['null', { ...good, name: null }, 'name', /text expected/],
    [
      'an element',
      {
        ...good,
        list: [
          [2, '3'],
          [2, 'x'],
        ],
      },
      'list[1][1]',
      /a decimal number as text expected/,
    ],
    ['a short list', { ...good, list: [[2]] }, 'list[0]', /a list of 2 values expected/],
    ['no such word', { ...good, kind: 'c' }, 'kind', /one of a, b expected/],
  ];
  for (const [what, value, field, reason] of cases) {
    test(what, () => {
      const error = thrownBy(() => readJson(form, bytes(value), 'stasis-x.json'));
      expect(error).toBeInstanceOf(ImageError);
      expect(error).toMatchObject({ file: 'stasis-x.json', field });
      expect((error as ImageError).reason).toMatch(reason);
    });
  }

  test('in a line', () => {
    const error = thrownBy(() => readJsonLines(object({ a: whole }), bytes('{"a":1}\n{"a":"1"}\n'), 'x'));
    expect(error).toMatchObject({ file: 'x', field: 'line 2.a' });
  });

  test('of a thread', () => {
    const error = thrownBy(() => readOwnState(bytes({ 8: { restart: { nr: 1, args: [2], remaining: '1' } } }), 7, [8]));
    expect(error).toMatchObject({ file: 'stasis-task-7.json', field: '8.restart.args[0]' });
  });
});

const EXTRA = {
  restart: { nr: 35, args: ['1', '2', '3', '4', '5', '6'], remaining: '1000000' },
  identity: { personality: 262144, timerSlack: 1, speculation: { 0: 4 } },
  scheduling: { cpus: '0-3,8', ioprio: 16388, runtime: '1000000', utilMin: 3 },
  process: { coredumpFilter: 1, exitSignal: 0 },
  memory: { names: { '7f00': 'x' }, lockedOnFault: ['7f00'], sealed: [], common: { of: 6, pages: [1, 2] }, pages: 6 },
  numa: { mode: 2, nodes: '1' },
  numaMappings: [{ start: 4096, mode: 2, nodes: '1' }],
  xsave: 'AAAA',
  xcomp: [18],
  stops: [9],
  autogroup: { nice: -5 },
  8: { identity: { personality: 0 } },
};
const MARKS = {
  version: 1,
  run: 'r',
  files: [
    { name: 'core-1.img', size: 10, sum: '00ff' },
    {
      name: 'pages-1.img',
      size: 8192,
      blocks: [
        [4096, '0123456789abcdef'.repeat(2)],
        [4096, 'pages-2.img', 8192],
      ],
    },
  ],
};

test('what a dump writes is read', () => {
  const { own, threads } = readOwnState(bytes(EXTRA), 7, [8, 9]);
  const { 8: thread, ...rest } = EXTRA;
  expect(own as unknown).toEqual(rest);
  expect([...threads]).toEqual([
    [8, thread],
    [9, {}],
  ]);
  expect(readManifest(bytes(MARKS)).files.get('pages-1.img')?.blocks).toHaveLength(2);
});

/** Another value in some place of a value. */
function damaged(value: unknown, random: () => number): unknown {
  const others = [null, -1, 1.5, 2 ** 53, '', 'x', [], {}, true, [[]], '9'.repeat(50), { length: 9 }];
  if (typeof value !== 'object' || value === null || random() < 0.15)
    return others[Math.floor(random() * others.length)];
  const entries = Object.entries(value);
  const at = Math.floor(random() * entries.length);
  const changed = entries.flatMap(([name, member], i) =>
    i !== at ? [[name, member]] : random() < 0.1 ? [] : [[name, damaged(member, random)]],
  );
  return Array.isArray(value) ? changed.map(([, member]) => member) : Object.fromEntries(changed);
}

test('4,000 damaged files: an ImageError, or what the form allows', () => {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 0x80000000;
  };
  const count = { read: 0, refused: 0 };
  for (let round = 0; round < 4000; round++) {
    const json = JSON.stringify(damaged(round % 2 ? EXTRA : MARKS, random));
    // Now and then the text itself is cut.
    const file = bytes(random() < 0.1 ? json.slice(0, Math.floor(random() * json.length)) : json);
    try {
      if (round % 2) readOwnState(file, 7, [8]);
      else
        for (const { blocks } of readManifest(file).files.values())
          for (const [length] of blocks ?? []) expect(length % 32).toBe(0);
      count.read++;
    } catch (error) {
      if (!(error instanceof ImageError)) throw new Error(`${json}: ${error}`, { cause: error });
      expect(error).toBeInstanceOf(StasisError);
      count.refused++;
    }
  }
  expect(count.refused).toBeGreaterThan(2000);
  expect(count.read).toBeGreaterThan(50);
});
