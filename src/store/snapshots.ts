/** What a store knows of a snapshot: its files, each with the tree of its contents. One file of JSON for each. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { StasisError } from '../base/errors.ts';
import { encodeText } from '../base/text.ts';
import { ImageError } from '../images/error.ts';
import { type FormType, hexadecimal, list, object, optional, readJson, text, whole } from '../images/form.ts';
import { DIGEST_SIZE } from './digest-map.ts';
import { syncDirectory, writeLasting } from './packs.ts';
import type { Root } from './tree.ts';

const FILE = object({
  /** Relative to the folder of images; parts of images of earlier dumps begin with `parent/`. */
  path: text,
  mode: whole,
  size: whole,
  /** Absent for an empty file. */
  digest: optional(hexadecimal),
  levels: whole,
});

const SNAPSHOT = object({
  format: whole,
  /** When it was added, in milliseconds since 1970. */
  added: whole,
  files: list(FILE),
});

/** The version of the form. */
const FORMAT = 1;

/** A file of a snapshot. */
export type SnapshotFile = FormType<typeof FILE>;

/** A snapshot under its name. */
export interface Snapshot {
  readonly name: string;
  readonly added: number;
  readonly files: readonly SnapshotFile[];
}

/** The names of all snapshots, in alphabetical order. */
export function snapshotNames(dir: string): string[] {
  return readdirSync(dir)
    .flatMap((file) => /^([^.].*)\.json$/.exec(file)?.[1] ?? [])
    .sort();
}

/** Reads a snapshot; undefined if there is none of that name. @throws ImageError if it is damaged */
export function readSnapshot(dir: string, name: string): Snapshot | undefined {
  const file = `${requireName(name)}.json`;
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(`${dir}/${file}`);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
  const { format, added, files } = readJson(SNAPSHOT, bytes, file);
  if (format !== FORMAT) {
    const remedy = 'use the version of Stasis that has made it';
    throw new ImageError({ file, reason: `is of version ${format}, not ${FORMAT}`, remedy });
  }
  for (const one of files) requireInside(one.path, file);
  return { name, added, files };
}

/** Writes a snapshot: it is there as a whole or not at all. */
export function writeSnapshot(dir: string, { name, added, files }: Snapshot): void {
  const json = JSON.stringify({ format: FORMAT, added, files });
  writeLasting(`${dir}/${requireName(name)}.json`, encodeText(`${json}\n`));
  syncDirectory(dir);
}

/** Removes a snapshot. */
export function removeSnapshot(dir: string, name: string): void {
  rmSync(`${dir}/${requireName(name)}.json`);
  syncDirectory(dir);
}

/** The tree of a file's contents; undefined for an empty file. @throws ImageError */
export function rootOf({ path, digest, levels }: SnapshotFile): Root | undefined {
  if (digest === undefined) return undefined;
  if (digest.length === 2 * DIGEST_SIZE) return { digest: new Uint8Array(Buffer.from(digest, 'hex')), levels };
  throw new ImageError({ file: path, reason: `a digest of ${digest.length / 2} bytes` });
}

/** @throws StasisError (usage) for what cannot be the name of a snapshot */
function requireName(name: string): string {
  if (/^[\w][\w.+:@-]{0,199}$/.test(name)) return name;
  throw new StasisError({
    kind: 'usage',
    resource: name,
    reason: 'cannot be the name of a snapshot',
    remedy: 'use up to 200 letters, digits and . + : @ _ -, with no such sign at the beginning',
  });
}

/** A path of a damaged snapshot must not lead out of the folder it is written into. */
function requireInside(path: string, file: string): void {
  const isInside = path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
  if (!isInside) throw new ImageError({ file, reason: `${JSON.stringify(path)} is no path of an image` });
}
