import { expect, test } from 'bun:test';

// The scripts are plain JavaScript, so that they run before anything is installed.
const path: string = new URL('../../scripts/failures.mjs', import.meta.url).href;
const { failuresIn } = (await import(path)) as { failuresIn(output: string): string[] };

test('each failure is told by its test and its error, without the code', () => {
  const output = `
test/whole/tree.test.ts:
1 | test('a', () => {
2 |   throw new Error('not this one');
            ^
error: the note

- Expected  - 1
+ Received  + 1

      at <anonymous> (tree.test.ts:2:9)
(fail) a > is equal [2.09ms]
a warning
(pass) good [0.13ms]
\u001b[31mTypeError: not a function\u001b[0m
      at <anonymous> (tree.test.ts:9:9)
\u001b[31m(fail)\u001b[0m throws [0.33ms]
(fail) sleeps [101.26ms]
  ^ this test timed out after 100ms.

 1 pass
 3 fail
`;
  expect(failuresIn(output)).toEqual([
    '(fail) a > is equal [2.09ms]\nerror: the note\n\n- Expected  - 1\n+ Received  + 1\n\n' +
      '      at <anonymous> (tree.test.ts:2:9)',
    '(fail) throws [0.33ms]\nTypeError: not a function\n      at <anonymous> (tree.test.ts:9:9)',
    '(fail) sleeps [101.26ms]\n  ^ this test timed out after 100ms.',
  ]);
});

test('a long one is shortened', () => {
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`);
  const [failure = ''] = failuresIn(`error: long\n${lines.join('\n')}\n      at here\n(fail) long [1ms]\n`);
  const shown = failure.split('\n');
  expect(shown).toHaveLength(42);
  expect(shown.slice(0, 3)).toEqual(['(fail) long [1ms]', 'error: long', 'line 0']);
  expect(shown.slice(-3)).toEqual(['line 98', 'line 99', '      at here']);
});

test('of an output without failed tests, the end', () => {
  const output = `${Array.from({ length: 50 }, (_, i) => `line ${i}`).join('\n')}\nerror: cannot be loaded\n\n`;
  expect(failuresIn(output)[0]).toMatch(/^line 31\n(line \d+\n)+error: cannot be loaded$/);
});
