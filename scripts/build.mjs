/**
 * npm run build: dist/stasis, one executable with Bun inside (dist/criu and dist/crit are links to it), and
 * dist/stasis.mjs, the bundle for Node with koffi.
 */

import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ensureInstalled, home, run, tool } from './setup.mjs';

const dist = join(home, 'dist');

ensureInstalled();
mkdirSync(dist, { recursive: true });

// Bytecode halves the start-up, and split chunks let --version load only its own few lines; minifying on top gains
// nothing and would spoil stack traces. Nearly all code runs once: the JIT must not jump at it (half the time of a
// small dump would be spent compiling), and only loops over much data ever pass a hundred times its usual thresholds. A
// compiled executable reads .env and bunfig.toml of the current directory unless told not to: here that would let any
// directory change what a root process does.
const executable = [
  '--compile',
  '--bytecode',
  '--format=esm',
  '--splitting',
  '--min-chunk-size=16384',
  '--external=koffi',
  '--compile-jit-policy=100',
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--no-compile-autoload-tsconfig',
  '--no-compile-autoload-package-json',
];
bundle('stasis', executable);
const scratch = mkdtempSync(join(tmpdir(), 'stasis-build-'));
const profiles = recordProfiles();
if (profiles.length > 0) bundle('stasis', [...executable, `--bytecode-order=${profiles.join(',')}`]);
else console.log('dist/stasis  without a profile: root may record one');
rmSync(scratch, { recursive: true, force: true });
bundle('stasis.mjs', ['--target=node', '--format=esm', '--external=koffi', '--external=bun:ffi']);
bundle('index.mjs', ['--target=node', '--format=esm', '--external=koffi', '--external=bun:ffi']);
declare();
run(tool('bun'), [join(home, 'scripts', 'manual.mjs')]);
for (const name of ['criu', 'crit', 'criu-ns']) {
  rmSync(join(dist, name), { force: true });
  symlinkSync('stasis', join(dist, name));
}

/** Bundles src/main.ts, or for the package src/index.ts; the file appears under its name only when it is complete. */
function bundle(name, options) {
  const entry = name === 'index.mjs' ? 'index.ts' : 'main.ts';
  const fresh = `${name.replace('.mjs', '')}-new-${process.pid}${name.endsWith('.mjs') ? '.mjs' : ''}`;
  const built = spawnSync(tool('bun'), ['build', join(home, 'src', entry), ...options, `--outfile=${fresh}`], {
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

/** Writes the declarations of the package into dist/types: those that src/index.ts leads to, and no others. */
function declare() {
  const fresh = join(dist, `types-new-${process.pid}`);
  if (!run(tool('tsc'), ['--project', join(home, 'tsconfig.types.json'), '--outDir', fresh])) {
    console.error('Error: dist/types was not written');
    process.exit(1);
  }
  const types = join(dist, 'types');
  rmSync(types, { recursive: true, force: true });
  const wanted = ['index.d.ts'];
  for (const file of wanted) {
    const text = readFileSync(join(fresh, file), 'utf8');
    mkdirSync(dirname(join(types, file)), { recursive: true });
    writeFileSync(join(types, file), text.replaceAll(/(['"])(\.[^'"]*)\.ts\1/g, '$1$2.js$1'));
    for (const [, path] of text.matchAll(/['"](\.[^'"]*)\.ts['"]/g)) {
      const next = join(dirname(file), `${path}.d.ts`);
      if (!wanted.includes(next)) wanted.push(next);
    }
  }
  rmSync(fresh, { recursive: true });
  console.log(`dist/types  ${wanted.length} declarations`);
}

/**
 * Has the fresh executable save and revive a process, and note which functions that takes: the next build lays their
 * bytecode side by side, which saves a tenth of the time. Answers the profiles, none where nobody may do this.
 */
function recordProfiles() {
  const images = mkdtempSync(join(scratch, 'images-'));
  const victim = spawn('sleep', ['1000'], { cwd: '/', detached: true, stdio: 'ignore' });
  const runs = { dump: ['-t', String(victim.pid)], restore: ['-d'] };
  const written = [];
  for (const [command, options] of Object.entries(runs)) {
    const profile = join(scratch, command);
    const { status } = spawnSync(join(dist, 'stasis'), [command, ...options, '-D', images, '-o', 'log', '-v4'], {
      env: { ...process.env, BUN_BYTECODE_ORDER_OUT: profile },
    });
    if (status !== 0) break;
    if (existsSync(profile)) written.push(profile);
  }
  try {
    process.kill(victim.pid, 'SIGKILL');
  } catch {
    // It ended with the dump, and was not restored.
  }
  return written;
}
