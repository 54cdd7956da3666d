/**
 * npm run install-local [-- --prefix DIR] [--remove]: puts the built program into PATH, as stasis, criu, criu-ns and
 * crit, with its manual page and shell completions. DIR is /usr/local for root, else ~/.local. What somebody else put
 * there is left alone.
 */

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { home } from './setup.mjs';

const program = join(home, 'dist', 'stasis');
const page = join(home, 'docs', 'stasis.1');
/** In the first line of each completion script. */
const MADE = 'completion for Stasis; made by';

const { prefix, remove } = chosen();
const links = {
  'bin/stasis': program,
  'bin/criu': program,
  'bin/criu-ns': program,
  'bin/crit': program,
  'share/man/man1/stasis.1': page,
  'share/man/man1/criu.1': page,
};
const completions = {
  'share/bash-completion/completions/stasis': 'bash',
  'share/bash-completion/completions/criu': 'bash',
  'share/zsh/site-functions/_stasis': 'zsh',
  'share/fish/vendor_completions.d/stasis.fish': 'fish',
  'share/fish/vendor_completions.d/criu.fish': 'fish',
};

if (!remove && !existsSync(program)) fail('dist/stasis is not built yet', 'npm run build');
const foreign = [...Object.keys(links), ...Object.keys(completions)]
  .map((name) => join(prefix, name))
  .filter((path) => isThere(path) && !isOurs(path));
if (foreign.length > 0 && !remove) {
  fail(`somebody else's: ${foreign.join(', ')}`, 'move them away, or name another place with -- --prefix DIR');
}
if (remove) takeAway();
else putThere();

function chosen() {
  try {
    const options = { prefix: { type: 'string' }, remove: { type: 'boolean', default: false } };
    const { values } = parseArgs({ options });
    const usual = process.getuid?.() === 0 ? '/usr/local' : join(homedir(), '.local');
    return { prefix: resolve(values.prefix ?? usual), remove: values.remove };
  } catch (error) {
    return fail(error.message, 'npm run install-local -- [--prefix DIR] [--remove]');
  }
}

function putThere() {
  for (const [name, target] of Object.entries(links)) {
    const path = fresh(name);
    symlinkSync(target, path);
    console.log(`${path} -> ${target}`);
  }
  for (const [name, shell] of Object.entries(completions)) {
    const { status, stdout } = spawnSync(program, ['completion', shell], { encoding: 'utf8' });
    if (status !== 0) fail(`the completions for ${shell} could not be made`, 'npm run build');
    writeFileSync(fresh(name), stdout);
  }
  console.log(`Completions for bash, zsh and fish are below ${join(prefix, 'share')}.`);
  const bin = join(prefix, 'bin');
  if (!(process.env.PATH ?? '').split(':').includes(bin)) console.log(`Hint: ${bin} is not in PATH; add it there`);
}

function takeAway() {
  for (const name of [...Object.keys(links), ...Object.keys(completions)]) {
    const path = join(prefix, name);
    if (!isThere(path) || !isOurs(path)) continue;
    rmSync(path);
    console.log(`${path} is removed`);
  }
}

/** A path below the prefix where nothing is any more. */
function fresh(name) {
  const path = join(prefix, name);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  return path;
}

function isThere(path) {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** A link to a checkout of Stasis, this one or another, or a completion script made by it. */
function isOurs(path) {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return /\/(dist\/stasis|docs\/stasis\.1)$/.test(readlinkSync(path));
  return status.isFile() && readFileSync(path, 'utf8').slice(0, 200).includes(MADE);
}

function fail(what, hint) {
  console.error(`Error: ${what}\nHint: ${hint}`);
  process.exit(1);
}
