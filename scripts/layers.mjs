/**
 * Checks the architecture: imports point down, kinds do not know each other, images are pure, FFI stays in one
 * file, nothing but node: modules is used. Long files get a warning.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { home } from './setup.mjs';

/** From the top down; a file may import from its own layer and those after it. */
const LAYERS = [
  'cli',
  'rpc',
  'explore',
  'api',
  'engine',
  'store',
  'kinds',
  'memory',
  'paths',
  'network',
  'namespaces',
  'support',
  'contract',
  'images',
  'tracee',
  'kernel',
  'arch',
  'base',
];
const FFI = 'kernel/ffi.ts';
const REGISTRY = 'kinds/registry.ts';
const LONG = 400;

/** What is wrong with one import; undefined if nothing is. Paths count from src/. */
export function complaint(file, imported) {
  if (!imported.startsWith('.')) {
    if (imported.startsWith('node:')) return undefined;
    if (file === FFI && (imported === 'bun:ffi' || imported === 'koffi')) return undefined;
    return `imports ${imported}; only node: modules are allowed${/^bun:|koffi/.test(imported) ? ` here (FFI: ${FFI})` : ''}`;
  }
  if (!imported.endsWith('.ts')) return `imports ${imported} without its extension`;
  const target = normalize(join(dirname(file), imported));
  const [from] = file.split('/');
  const [to] = target.split('/');
  if (from === 'main.ts') return undefined;
  if (from === 'index.ts') return to === 'api' ? undefined : `imports ${target}; the package offers what api/ offers`;
  if (!LAYERS.includes(to)) return `imports ${target}, which belongs to no layer`;
  if (LAYERS.indexOf(to) < LAYERS.indexOf(from)) return `imports upward: ${target}`;
  if (from === 'images' && to !== 'images' && to !== 'base') return `images are pure, but ${target} is not`;
  if (to === 'kinds' && from === 'kinds') {
    if (file !== REGISTRY && kindOf(file) !== kindOf(target)) return `a kind imports another: ${target}`;
  } else if (to === 'kinds' && target !== REGISTRY) return `imports a kind, not the registry: ${target}`;
  return undefined;
}

/** The folder of a kind: `kinds/file/pipe` of `kinds/file/pipe/kind.ts`. */
function kindOf(file) {
  return file.split('/').slice(0, 3).join('/');
}

/** The modules a source text imports, static, dynamic and required. */
export function importsOf(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const pattern = /(?<![.\w])(?:from|import|require)\s*\(?\s*(['"])([^'"\n]+)\1/g;
  return [...code.matchAll(pattern)].map((match) => match[2]);
}

/** Checks all of src/; returns the complaints, and prints warnings about long files. */
export function checkLayers() {
  const src = join(home, 'src');
  const complaints = [];
  for (const entry of readdirSync(src, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const file = relative(src, path);
    const text = readFileSync(path, 'utf8');
    for (const imported of importsOf(text)) {
      const wrong = complaint(file, imported);
      if (wrong) complaints.push(`src/${file}: ${wrong}`);
    }
    if (/\bBun\.\w/.test(text)) complaints.push(`src/${file}: uses the Bun global`);
    const lines = text.split('\n').length;
    if (lines > LONG) console.warn(`Warning: src/${file} has ${lines} lines`);
  }
  return complaints;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const complaints = checkLayers();
  for (const line of complaints) console.error(line);
  process.exitCode = complaints.length > 0 ? 1 : 0;
}
