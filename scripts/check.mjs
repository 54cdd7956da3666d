/** npm run check: types, format and lint, architecture, width of comments, pure tests. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKS } from './checks.mjs';
import { ensureInstalled, home, run, tool } from './setup.mjs';

ensureInstalled();

const steps = [
  ...CHECKS,
  [
    'pure tests',
    () => !existsSync(join(home, 'test', 'pure')) || run(tool('bun'), ['test', '--timeout', '30000', './test/pure/']),
  ],
];

const failed = [];
for (const [name, step] of steps) {
  console.log(`— ${name}`);
  if (!step()) failed.push(name);
}
if (failed.length > 0) {
  console.error(`Failed: ${failed.join(', ')}`);
  process.exit(1);
}
console.log('All checks passed.');
