/**
 * Two image sets of the same tree, of a dump and of the dump of what was restored from it: what `crit` shows of them
 * must be the same, but for what has an explanation.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageToJson } from '../../../src/images/crit-json.ts';
import { decodeImage } from '../../../src/images/image.ts';
import type { Json, JsonObject } from '../../../src/images/json.ts';

/** What may differ, and why. Patterns are of paths like `core-17.thread_core.comm`. */
const EXPLAINED: readonly [pattern: RegExp, reason: string][] = [
  [/^core-\d+\.thread_info\.gpregs\.(?!cs$|ss$|fs_base$|gs_base$|mode$)/, 'it has gone on: registers'],
  [/^core-\d+\.thread_info\.fpregs\.(?!cwd$|mxcsr)/, 'it has gone on: vector registers'],
  [/^core-\d+\.(tc|thread_core)\..*\.(vsec|vusec|vnsec|overrun)$/, 'it has gone on: timers'],
  [/^files\.\S+\.tfd\.v(sec|nsec)$/, 'it has gone on: timers'],
  [/^core-\d+\.(tc|thread_core)\.signals_[sp]\./, 'it has gone on: signals on their way'],
  [/^core-\d+\.tc\.flags$/, 'what the kernel has noted of its life: forked, used a privilege'],
  [/^pipes-data\.\d+\.(bytes|extra)$/, 'it has gone on: what is in its pipes'],
  [/^files\.\S+\.(size|pos)$/, 'it has gone on: files written to'],
  [/^ids-\d+\.time_ns_id$/, 'restored into a time namespace'],
  [/^inventory\.(dump_uptime|dump_criu_run_id|root_ids\.)/, 'when and by which run'],
  [/^timens-/, 'when'],
  [/^(ghost-file-\d+|remap-fpath)\./, 'a file without a name is a new one'],
];

/**
 * Not compared: what pages there are depends on what the task has done since, and what a dump costs on the machine.
 * Mounts are new ones after each restore; victims compare them.
 */
const LEFT_OUT = /^(pages-|pagemap-|stats-|irmap-cache|mountpoints-|tmpfs-)/;

/** The differences that nothing explains, a line each; empty if there are none. `also`: further ones that are known. */
export function imageDifferences(before: string, after: string, also: readonly RegExp[] = []): string[] {
  const was = flatSet(before);
  const is = flatSet(after);
  const known = [...EXPLAINED.map(([pattern]) => pattern), ...also];
  const lines: string[] = [];
  for (const path of new Set([...was.keys(), ...is.keys()])) {
    if (nameless(was.get(path)) === nameless(is.get(path)) || known.some((pattern) => pattern.test(path))) continue;
    lines.push(`${path}: was ${was.get(path) ?? 'not there'}, is ${is.get(path) ?? 'not there'}`);
  }
  return lines;
}

/** The kernel names a file that never had a name (O_TMPFILE) by its inode number, and a restored one is a new file. */
function nameless(value: string | undefined): string | undefined {
  return value?.replace(/\/#\d+(?="?$)/, '/#');
}

/**
 * Numbers that a dump gives out: what counts is which are the same, so each gets its name from where it is first met.
 */
class Names {
  readonly #spaces = new Map<string, Map<string, string>>();

  of(space: string, id: Json | undefined): string {
    const names = this.#spaces.get(space) ?? new Map<string, string>();
    this.#spaces.set(space, names);
    const name = names.get(String(id)) ?? `${space}#${names.size}`;
    names.set(String(id), name);
    return name;
  }
}

/** Fields that hold such numbers, wherever they are. */
const SPACES: Readonly<Record<string, string>> = {
  ...{ cwd_id: 'file', exe_file_id: 'file', orig_id: 'file', regf_id: 'file' },
  ...{ vm_id: 'vm', files_id: 'files', fs_id: 'fs', sighand_id: 'sighand' },
  ...{
    pipe_id: 'pipe',
    inode_id: 'memfd',
    remap_id: 'remap',
    tty_info_id: 'tty',
    map_id: 'bpf',
    cg_set: 'cgroups',
    mnt_id: 'mount',
  },
};

/** Everything in a set: path → value, as text. */
function flatSet(folder: string): Map<string, string> {
  const flat = new Map<string, string>();
  const names = new Names();
  const left = new Set(readdirSync(folder).filter((name) => name.endsWith('.img') && !LEFT_OUT.test(name)));
  const passing = passingFiles(folder);
  const add = (name: string, as = name): void => {
    if (!left.delete(`${name}.img`)) return;
    const entries = entriesOf(join(folder, `${name}.img`));
    const lasting = /^(fdinfo|files)/.test(name)
      ? entries.filter((entry) => !passing.has((entry as JsonObject).id))
      : entries;
    flatten(as, lasting, names, flat);
  };
  // By process IDs, so that numbers get their names in this order.
  const tree = entriesOf(join(folder, 'pstree.img')).map((entry) => Number((entry as JsonObject).pid));
  for (const pid of tree.sort((a, b) => a - b)) {
    const [ids] = left.has(`ids-${pid}.img`) ? entriesOf(join(folder, `ids-${pid}.img`)) : [];
    add(`ids-${pid}`);
    for (const kind of ['fs', 'mm', 'core']) add(`${kind}-${pid}`);
    const table = (ids as JsonObject | undefined)?.files_id;
    if (table !== undefined) add(`fdinfo-${table}`, `fdinfo-${names.of('files', table)}`);
  }
  for (const file of [...left].sort()) add(file.slice(0, -'.img'.length));
  return flat;
}

/** Ids of files that a task has open for a moment, to look at itself. */
function passingFiles(folder: string): Set<Json | undefined> {
  const files = entriesOf(join(folder, 'files.img')) as JsonObject[];
  const inPassing = ({ reg }: JsonObject): boolean =>
    /^\/?proc\/\d+\//.test(String((reg as JsonObject | undefined)?.name));
  return new Set(files.filter(inPassing).map(({ id }) => id));
}

function entriesOf(path: string): Json[] {
  return imageToJson(decodeImage(path, readFileSync(path))).entries as Json[];
}

/** Adds all values under a path. Elements of lists go by what identifies them, if there is such a thing. */
function flatten(path: string, value: Json | undefined, names: Names, flat: Map<string, string>): void {
  if (Array.isArray(value)) {
    const items = path.endsWith('.vmas') ? merged(value) : value;
    // A list of one is mostly an image of one entry.
    const alone = items.length === 1 && !path.includes('.');
    for (const [i, item] of items.entries()) {
      flatten(alone ? path : `${path}.${identity(path, item, names) ?? i}`, item, names, flat);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      const space = spaceOf(path, key, value);
      if (space) flat.set(`${path}.${key}`, names.of(space, inner));
      else flatten(`${path}.${key}`, inner, names, flat);
    }
  } else {
    flat.set(path, String(value));
  }
}

/** In which space the number in a field is given out; undefined for a field that holds a value. */
function spaceOf(path: string, key: string, holder: JsonObject): string | undefined {
  if (key === 'id' && /^(fdinfo|files)/.test(path)) return 'file';
  if (key === 'root_id' && path.startsWith('fs-')) return 'file';
  if (key === 'shmid') return /FILE/.test(statusOf(holder)) ? 'file' : 'segment';
  return SPACES[key];
}

const VMA_FILE = 0xc0; // private and shared

function statusOf({ status }: JsonObject): string {
  return typeof status === 'number' && status & VMA_FILE ? 'FILE' : String(status);
}

function identity(path: string, item: Json, names: Names): string | undefined {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return undefined;
  if (path.endsWith('.vmas')) return Number(item.start).toString(16);
  if (path.startsWith('fdinfo-')) return `fd ${item.fd}`;
  if (path === 'files') return names.of('file', item.id);
  if (path === 'pstree') return String(item.pid);
  return undefined;
}

/** VMAs with alike neighbours made one: whether the kernel has merged them is no state of the task. */
function merged(vmas: readonly Json[]): JsonObject[] {
  const list: JsonObject[] = [];
  for (const vma of vmas as JsonObject[]) {
    const last = list.at(-1);
    if (last && alike(last, vma)) list[list.length - 1] = { ...last, end: vma.end as Json };
    else list.push(vma);
  }
  return list;
}

function alike(a: JsonObject, b: JsonObject): boolean {
  const same = (key: string): boolean => a[key] === b[key];
  const file = statusOf(a) === 'FILE';
  return (
    a.end === b.start &&
    ['shmid', 'prot', 'flags', 'status', 'madv', 'fdflags'].every(same) &&
    (!file || Number(a.pgoff) + Number(a.end) - Number(a.start) === Number(b.pgoff))
  );
}
