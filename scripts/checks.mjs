/** The checks of the code that run no code of Stasis: one list, for `npm run check` and for `npm test`. */

import { join } from 'node:path';
import { home, run, tool } from './setup.mjs';

/** Each check with its name; a check returns whether it passed. */
export const CHECKS = [
  ['types', () => run(tool('tsc'), [])],
  ['format and lint', () => run(tool('biome'), ['check', '--error-on-warnings'])],
  ['layers', () => run(process.execPath, [join(home, 'scripts', 'layers.mjs')])],
  ['width of comments', () => run(process.execPath, [join(home, 'scripts', 'widths.mjs')])],
];
