import { expect, test } from 'bun:test';

// The scripts are plain JavaScript, so that they run before anything is installed.
const path: string = new URL('../../scripts/widths.mjs', import.meta.url).href;
const { wideComments } = (await import(path)) as {
  wideComments(text: string): { line: number; width: number }[];
};

const words = (columns: number): string => 'word '.repeat(columns / 5 - 1).concat('words');
const long = words(125);

const cases: [name: string, text: string, lines: number[]][] = [
  ['a comment that fits', `// ${words(115)}`, []],
  ['a line comment', `// ${long}`, [1]],
  ['a doc comment', `/** ${long} */`, [1]],
  ['lines of a block', `/**\n * short\n * ${long}\n   ${long}\n */\nconst a = '${long}';`, [3, 4]],
  ['a comment after code', `const a = 1; // ${long}`, [1]],
  ['a block that ends before the code does', `/* a */ const a = 1;\nconst b = '${long}';`, []],
  ['code alone', `const a = '${long}';`, []],
  ['an address in a string', `const a = 'https://${long}';`, []],
  ['characters of two units', `// ${'🙂'.repeat(110)}`, []],
];
test.each(cases)('%s', (_, text, lines) => {
  expect(wideComments(text).map((wide) => wide.line)).toEqual(lines);
});

test('the width is told', () => {
  expect(wideComments(`// ${long}`)).toEqual([{ line: 1, width: 128 }]);
});
