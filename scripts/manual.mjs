/**
 * npm run manual: writes docs/stasis.1 from the tables of options and commands. Runs under Bun, as it reads TypeScript.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { manualPage } from '../src/cli/manual.ts';
import { home } from './setup.mjs';

const path = join(home, 'docs', 'stasis.1');
const page = manualPage();
if (read(path) !== page) {
  writeFileSync(path, page);
  console.log('docs/stasis.1 is written anew');
}

function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
