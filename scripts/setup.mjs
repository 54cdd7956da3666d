/** What the other scripts share: where things are, and installing what is missing in a fresh clone. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const home = dirname(dirname(fileURLToPath(import.meta.url)));

/** The path of a tool that npm installs here. */
export function tool(name) {
  return join(home, 'node_modules', '.bin', name);
}

/** Installs the npm packages of the lock file if a tool is missing; ends the process if that fails. */
export function ensureInstalled() {
  if (['bun', 'tsc', 'biome'].every((name) => existsSync(tool(name)))) return;
  console.log('Installing the npm packages …');
  // Not `npm ci`: it refuses a lock file without the packages of other platforms, and not every registry has those.
  const { status } = spawnSync('npm', ['install', '--no-save'], { cwd: home, stdio: 'inherit' });
  if (status !== 0) {
    console.error('Error: npm install failed\nHint: its own messages are above');
    process.exit(1);
  }
}

/** Runs a program in the checkout, its output shown; returns whether it succeeded. */
export function run(program, args, options = {}) {
  return spawnSync(program, args, { cwd: home, stdio: 'inherit', ...options }).status === 0;
}
