import { expect, test } from 'bun:test';

// The scripts are plain JavaScript, so that they run before anything is installed.
const path: string = new URL('../../scripts/layers.mjs', import.meta.url).href;
const { complaint, importsOf } = (await import(path)) as {
  complaint(file: string, imported: string): string | undefined;
  importsOf(text: string): string[];
};

const cases: [file: string, imported: string, wrong: RegExp | undefined][] = [
  ['cli/dump.ts', '../engine/dump.ts', undefined],
  ['cli/dump.ts', './settings.ts', undefined],
  ['main.ts', './cli/main.ts', undefined],
  ['engine/dump.ts', '../kinds/registry.ts', undefined],
  ['engine/dump.ts', '../kinds/file/pipe/kind.ts', /not the registry/],
  ['kinds/registry.ts', './file/pipe/kind.ts', undefined],
  ['kinds/file/pipe/kind.ts', './data.ts', undefined],
  ['kinds/file/pipe/kind.ts', '../../../contract/contract.ts', undefined],
  ['kinds/file/pipe/kind.ts', '../eventfd/kind.ts', /a kind imports another/],
  ['kinds/file/pipe/kind.ts', '../../task/pipe/kind.ts', /a kind imports another/],
  ['kinds/file/pipe/kind.ts', '../../registry.ts', /a kind imports another/],
  ['paths/locate.ts', '../kinds/registry.ts', /upward/],
  ['memory/segments.ts', '../paths/ghost/capture.ts', undefined],
  ['engine/dump.ts', '../cli/settings.ts', /upward/],
  ['tracee/stub.ts', '../images/codec.ts', /upward/],
  ['images/codec.ts', '../base/text.ts', undefined],
  ['images/codec.ts', '../kernel/ffi.ts', /pure/],
  ['base/text.ts', '../kernel/ffi.ts', /upward/],
  ['kernel/ffi.ts', 'bun:ffi', undefined],
  ['kernel/ffi.ts', 'koffi', undefined],
  ['kernel/syscall.ts', 'koffi', /only node:/],
  ['kernel/syscall.ts', 'node:util', undefined],
  ['cli/main.ts', 'bun', /only node:/],
  ['cli/main.ts', './print', /extension/],
  ['cli/main.ts', '../tools/x.ts', /no layer/],
];
test.each(cases)('%s importing %s', (file, imported, wrong) => {
  if (wrong) expect(complaint(file, imported)).toMatch(wrong);
  else expect(complaint(file, imported)).toBeUndefined();
});

test('finds every kind of import', () => {
  const text = `
    import { a } from './a.ts';
    import type { B } from "./b.ts";
    import './c.ts';
    export { d } from './d.ts';
    const e = await import('./e.ts');
    const f = require('f');
    scripts.require('not');
    // import './not.ts'
    /* from './nor.ts' */`;
  expect(importsOf(text)).toEqual(['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', 'f']);
});
