/**
 * `stasis-manifest.json` lists the files of a dump with their sizes and checksums, so that a truncated or changed file
 * is noticed before any process is made. CRIU's format has no place for that: an image that ends between two entries,
 * or in which a value has changed, is a valid image.
 *
 * Page contents (`pages-*.img`) are only told by their size. To sum up gigabytes would take longer than to save them.
 */

import { checksum, checksumOf } from '../base/checksum.ts';
import { decodeText, encodeText } from '../base/text.ts';
import type { Disk } from './disk.ts';
import { ImageError } from './error.ts';

/** Its name. It does not end in `.img`: CRIU's tools would try to read it. */
export const MANIFEST = 'stasis-manifest.json';
const VERSION = 1;
const REMEDY = `if you edited the images on purpose (crit encode), remove ${MANIFEST}`;

/** What a file looked like when it was written. */
export interface Mark {
  readonly size: number;
  /** The checksum of the content (base/checksum.ts). Absent where only the size is compared. */
  readonly sum?: string;
}

/** The content of a manifest. */
export interface Manifest {
  /** `dump_criu_run_id` of the inventory it belongs to. */
  readonly run: string;
  readonly files: ReadonlyMap<string, Mark>;
}

/** The mark of a file with this content. */
export function markOf(bytes: Uint8Array): Mark {
  return { size: bytes.length, sum: checksum(bytes) };
}

/** The mark of an existing file of any size; undefined if there is none. Throws what `disk` throws. */
export function markOfFile(disk: Disk, dir: string, name: string): Mark | undefined {
  const path = `${dir}/${name}`;
  const status = disk.status(path);
  if (!status) return undefined;
  // Reading a FIFO would block; whatever is no regular file is not what was written anyway.
  if (isPages(name) || !status.regular) return { size: status.size };
  const fd = disk.open(path, 0, 0);
  try {
    return { size: status.size, sum: checksumOf(piecesOf(disk, fd)) };
  } finally {
    disk.close(fd);
  }
}

function* piecesOf(disk: Disk, fd: number): Generator<Uint8Array> {
  const buffer = new Uint8Array(1 << 18);
  for (let got = buffer.length; got === buffer.length; ) {
    got = disk.read(fd, buffer);
    yield buffer.subarray(0, got);
  }
}

/** Whether only the size of a file is compared. */
export function isPages(name: string): boolean {
  return name.startsWith('pages-') && name.endsWith('.img');
}

/** The content of a manifest. */
export function manifestBytes({ run, files }: Manifest): Uint8Array {
  const list: unknown[] = [];
  for (const [name, { size, sum }] of files) list.push({ name, size, sum });
  return encodeText(`${JSON.stringify({ version: VERSION, run, files: list })}\n`);
}

/** Reads a manifest. @throws ImageError for one that is damaged, or newer than what is known here */
export function readManifest(bytes: Uint8Array): Manifest {
  const value = parsed(bytes);
  if (!isRecord(value) || typeof value.run !== 'string' || !Array.isArray(value.files)) throw damaged();
  if (value.version !== VERSION) {
    throw new ImageError({ file: MANIFEST, field: 'version', reason: `${value.version} is not known here` });
  }
  const files = new Map<string, Mark>();
  for (const file of value.files as unknown[]) {
    if (!isRecord(file)) throw damaged();
    const { name, size, sum } = file;
    if (typeof name !== 'string' || name.includes('/') || files.has(name) || typeof size !== 'number') throw damaged();
    if (isPages(name)) files.set(name, { size });
    else if (typeof sum === 'string') files.set(name, { size, sum });
    else throw damaged();
  }
  return { run: value.run, files };
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeText(bytes));
  } catch {
    throw damaged();
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object';
}

function damaged(): ImageError {
  return new ImageError({ file: MANIFEST, reason: 'damaged: not what a dump writes', remedy: REMEDY });
}

/** Compares a file as it is now with its mark. @throws ImageError if it is not as it was written */
export function compare({ files }: Manifest, name: string, found: Mark | undefined): void {
  const written = files.get(name);
  if (!written) throw damaged();
  const reason = difference(written, found);
  if (reason !== undefined) throw new ImageError({ file: name, code: 'IMAGE_CHANGED', reason, remedy: REMEDY });
}

function difference(written: Mark, found: Mark | undefined): string | undefined {
  if (!found) return 'is missing; it was there when the dump was made';
  if (found.size !== written.size) return `is ${found.size} bytes long; the dump wrote ${written.size}`;
  if (found.sum !== written.sum) return 'its content is not what the dump wrote';
  return undefined;
}

/**
 * In how many characters run IDs may differ to count as one damaged ID. Damage changes far fewer, and two random IDs
 * differ in far more.
 */
const FEW = 8;

/**
 * Whether the inventory with this run ID was written by another dump than the manifest. That happens when `criu` dumps
 * into a folder of ours, since it leaves the manifest there. Run IDs are random; one that differs in a few characters
 * only is damaged.
 */
export function isOfAnotherDump(manifest: Manifest, run: string | undefined): boolean {
  if (run === undefined) return true;
  let differing = Math.abs(run.length - manifest.run.length);
  for (let i = 0; i < Math.min(run.length, manifest.run.length); i++) if (run[i] !== manifest.run[i]) differing++;
  return differing > FEW;
}
