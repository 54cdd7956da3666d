import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CODES } from '../../../src/base/error-codes.ts';
import { type Holder, StasisError, sentenceWithoutTask } from '../../../src/base/errors.ts';

const home = new URL('../../..', import.meta.url).pathname;

describe('codes', () => {
  test('the list and the document are the same, and each code has a sentence', () => {
    const page = readFileSync(join(home, 'docs/errors.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([A-Z][A-Z0-9_]*)` \| (.*) \|$/gm)].map(([, code, meaning]) => [
      code,
      meaning,
    ]);
    expect(rows).toEqual(Object.entries(ERROR_CODES));
    for (const meaning of Object.values(ERROR_CODES)) expect(meaning).toMatch(/^[A-Z].{10,}\.$/);
  });

  test('each is used', () => {
    const files = readdirSync(join(home, 'src'), { recursive: true, encoding: 'utf8' });
    const sources = files.filter((file) => file.endsWith('.ts') && !file.endsWith('error-codes.ts'));
    const text = sources.map((file) => readFileSync(join(home, 'src', file), 'utf8')).join('\n');
    // Those of the kinds are made of their names.
    const kinds = ['usage', 'image', 'conflict', 'permission', 'kernel', 'io', 'gone', 'interrupted', 'internal'];
    const own = Object.keys(ERROR_CODES).filter((code) => !kinds.includes(code.toLowerCase()));
    expect(own.filter((code) => !text.includes(`'${code}'`))).toEqual([]);
  });

  test('that of its kind, unless an error has its own', () => {
    expect(new StasisError({ kind: 'io', reason: 'x' }).code).toBe('IO');
    expect(new StasisError({ kind: 'conflict', code: 'PID_TAKEN', reason: 'x' }).code).toBe('PID_TAKEN');
  });
});

describe('whom an error is about', () => {
  const holder = (pid: number, comm: string, ...fds: number[]): Holder => ({ task: { pid, comm }, fds });
  const about = (...holders: Holder[]): StasisError =>
    new StasisError({ kind: 'unsupported', code: 'FILE_UNKNOWN', resource: 'socket:[9]', reason: 'is odd', holders });

  test('a task and its descriptor', () => {
    const facts = { kind: 'conflict', task: { pid: 17, comm: 'a' }, reason: 'is odd' } as const;
    expect(new StasisError({ ...facts, fd: 3, resource: 'pipe:[9]' }).message).toBe(
      'task 17 (a): fd 3 (pipe:[9]): is odd',
    );
    expect(new StasisError({ ...facts, resource: 'pipe:[9]' }).message).toBe('task 17 (a): pipe:[9]: is odd');
    expect(new StasisError(facts).message).toBe('task 17 (a): is odd');
    expect(sentenceWithoutTask(new StasisError({ ...facts, fd: 3 }))).toBe('fd 3: is odd');
  });

  test('several descriptors, several tasks', () => {
    expect(about(holder(1, 'a', 3, 4)).message).toBe('task 1 (a): fds 3 and 4 (socket:[9]): is odd');
    expect(about(holder(1, 'a', 3), holder(2, 'a', 3)).message).toBe('tasks 1 and 2 (a): fd 3 (socket:[9]): is odd');
    const family = [1, 2, 3, 4, 5].map((pid) => holder(pid, 'a', 3));
    expect(about(...family).message).toBe('tasks 1, 2, 3 and 2 more (a): fd 3 (socket:[9]): is odd');
    expect(sentenceWithoutTask(about(holder(1, 'a', 3, 4, 5, 6, 7, 8)))).toBe(
      'fds 3, 4, 5, 6 and 2 more (socket:[9]): is odd',
    );
  });

  test('each with descriptors of its own', () => {
    expect(about(holder(1, 'a', 3), holder(2, 'b', 3, 4)).message).toBe(
      'tasks 1 (a) fd 3 and 2 (b) fds 3 and 4: socket:[9]: is odd',
    );
  });

  test('as an object', () => {
    expect(JSON.parse(JSON.stringify(about(holder(1, 'a', 3))))).toEqual({
      code: 'FILE_UNKNOWN',
      kind: 'unsupported',
      resource: 'socket:[9]',
      reason: 'is odd',
      holders: [{ pid: 1, comm: 'a', fds: [3] }],
    });
  });
});
