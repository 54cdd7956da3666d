/** What the other scripts share: where things are, and installing what is missing in a fresh clone. */

import { spawn, spawnSync } from 'node:child_process';
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

/** Like {@link run}; its output is shown as it comes, and what it writes to standard error is returned as well. */
export function runKept(program, args, options = {}) {
  const child = spawn(program, args, { cwd: home, stdio: ['inherit', 'inherit', 'pipe'], ...options });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    process.stderr.write(text);
    errors += text;
  });
  return new Promise((resolve, reject) => {
    const end = (status, signal) => resolve({ passed: status === 0, signal, errors });
    child.on('error', reject);
    child.on('close', end);
    // A process that it has left behind may hold the pipe open.
    child.on('exit', (status, signal) => setTimeout(end, 2000, status, signal).unref());
  });
}
