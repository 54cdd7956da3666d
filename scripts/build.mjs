/**
 * npm run build: dist/stasis, one executable with Bun inside (dist/criu and dist/crit are links to it), and
 * dist/stasis.mjs, the bundle for Node with koffi.
 */

import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ensureInstalled, home, tool } from './setup.mjs';

const dist = join(home, 'dist');

ensureInstalled();
mkdirSync(dist, { recursive: true });

// Bytecode halves the start-up, and split chunks let --version load only its own few lines; minifying on top gains
// nothing and would spoil stack traces. A compiled executable reads .env and bunfig.toml of the current directory
// unless told not to: here that would let any directory change what a root process does.
bundle('stasis', [
  '--compile',
  '--bytecode',
  '--format=esm',
  '--splitting',
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--no-compile-autoload-tsconfig',
  '--no-compile-autoload-package-json',
]);
bundle('stasis.mjs', ['--target=node', '--format=esm', '--external=koffi', '--external=bun:ffi']);
for (const name of ['criu', 'crit']) {
  rmSync(join(dist, name), { force: true });
  symlinkSync('stasis', join(dist, name));
}

/** Bundles src/main.ts; the file appears under its name only when it is complete. */
function bundle(name, options) {
  const fresh = `${name.replace('.mjs', '')}-new-${process.pid}${name.endsWith('.mjs') ? '.mjs' : ''}`;
  const built = spawnSync(tool('bun'), ['build', join(home, 'src', 'main.ts'), ...options, `--outfile=${fresh}`], {
    cwd: dist,
    encoding: 'utf8',
  });
  if (built.status !== 0) {
    console.error(`${built.stdout}${built.stderr}\nError: dist/${name} was not built`);
    process.exit(1);
  }
  renameSync(join(dist, fresh), join(dist, name));
  console.log(`dist/${name}  ${(statSync(join(dist, name)).size / 2 ** 20).toFixed(1)} MiB`);
}
