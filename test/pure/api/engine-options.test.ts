import { expect, test } from 'bun:test';
import { dumpOptions } from '../../../src/api/engine-options.ts';
import { defaultSettings } from '../../../src/api/settings.ts';

const places = { imagesDir: '/i', workDir: '/w' };

test('a dump needs a process, and says so', () => {
  expect(dumpOptions({ ...defaultSettings(), tree: 17 }, places)).toMatchObject({ pid: 17, ...places });
  expect(() => dumpOptions(defaultSettings(), places)).toThrow('no process was named');
});
