/**
 * What the commands load before they have seen a tree. Code that a small dump or restore loads and never runs costs it
 * as much as what it does, so these numbers may only fall: what only some trees need is loaded on demand
 * (src/base/part.ts).
 */
import { afterAll, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HOUSE = join(import.meta.dirname, '../..');

/** KiB of all modules, as they are bundled, with room for a few lines more. */
const MOST = {
  'cli/dump.ts': 737,
  'cli/restore.ts': 675,
} as const;

/** What is loaded on demand in any case. */
const ALWAYS: readonly [command: string, ...modules: string[]][] = [['cli/dump.ts', 'arch/x86-64/cave.ts']];

/** What no small dump or restore has a use for. */
const NEVER = [
  /^kinds\/file\/(unix|inet|netlink|packet|tun|io-uring|epoll)\//,
  /^namespaces\/(net|mnt)\//,
  /^kernel\/netlink\//,
  /^rpc\//,
  /^support\/tar\//,
  /^cli\/(help|manual|completion|crit)/,
];

interface Bundle {
  readonly inputs: Record<string, { imports: { path: string; kind: string }[] }>;
  readonly outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>;
}

const folder = mkdtempSync(join(tmpdir(), 'stasis-bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));
const bundle = bundled();

/** Bundles the program as scripts/build.mjs does, and answers what went into it. */
function bundled(): Bundle {
  const metafile = join(folder, 'metafile.json');
  const bun = spawnSync(
    process.execPath,
    [
      ...['build', join(HOUSE, 'src/main.ts'), '--target=bun', '--format=esm', '--splitting'],
      ...['--external=koffi', `--outdir=${folder}`, `--metafile=${metafile}`],
    ],
    { cwd: HOUSE, encoding: 'utf8' },
  );
  if (bun.status !== 0) throw new Error(bun.stderr);
  return JSON.parse(readFileSync(metafile, 'utf8')) as Bundle;
}

/** A module and all that it imports, directly or not, by static imports. */
function loadedWith(path: string, found = new Set<string>()): Set<string> {
  const module = bundle.inputs[path];
  if (!module || found.has(path)) return found;
  found.add(path);
  for (const { path: next, kind } of module.imports) if (kind === 'import-statement') loadedWith(next, found);
  return found;
}

function sizeOf(path: string): number {
  return Object.values(bundle.outputs).reduce((sum, { inputs }) => sum + (inputs[path]?.bytesInOutput ?? 0), 0);
}

test.each(Object.entries(MOST))('%s loads no more than it did', (command, most) => {
  const loaded = new Set<string>();
  const always = ALWAYS.find(([of]) => of === command)?.slice(1) ?? [];
  for (const entry of ['main.ts', 'cli/commandline.ts', command, ...always]) {
    loadedWith(`src/${entry}`, loaded);
  }
  const idle = [...loaded].filter((path) => NEVER.some((pattern) => pattern.test(path.slice('src/'.length))));
  expect(idle).toEqual([]);
  const bytes = [...loaded].reduce((sum, path) => sum + sizeOf(path), 0);
  expect(Math.ceil(bytes / 1024)).toBeLessThanOrEqual(most);
});
