/**
 * `stasis-manifest.json` lists the files of a dump with their sizes and checksums, so that a truncated or changed file
 * is noticed before any process is made. CRIU's format has no place for that: an image that ends between two entries,
 * or in which a value has changed, is a valid image.
 *
 * Page contents (`pages-*.img`) are compared by their size alone. The checksums of their blocks are made while they are
 * saved, and compared where that is asked for: to read gigabytes once more takes a good part of the time of a restore.
 */

import { checksum, checksumOf } from '../base/checksum.ts';
import { encodeText } from '../base/text.ts';
import type { Disk } from './disk.ts';
import { ImageError } from './error.ts';
import { type Form, list, object, optional, readJson, text, whole } from './form.ts';
import { idOfCompressedPages } from './own-files.ts';

/** Its name. It does not end in `.img`: CRIU's tools would try to read it. */
export const MANIFEST = 'stasis-manifest.json';
const VERSION = 1;
const REMEDY = `if you edited the images on purpose (crit encode), remove ${MANIFEST}`;

/** What a file looked like when it was written. */
export interface Mark {
  readonly size: number;
  /** The checksum of the content (base/checksum.ts). Absent where only the size is compared. */
  readonly sum?: string | undefined;
  /** Page contents from the beginning to the end of the file; absent where nobody has summed them up. */
  readonly blocks?: readonly Block[] | undefined;
}

/**
 * Some page contents. With checksums: CRC-32C of each quarter, 32 hexadecimal digits. Or copied from what was stored
 * for another task, a file and the place in it, and as good as that.
 */
export type Block = readonly [length: number, sums: string] | readonly [length: number, file: string, offset: number];

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
  return /^pages-[^/]*\.img$/.test(name) || idOfCompressedPages(name) !== undefined;
}

/** The content of a manifest. */
export function manifestBytes({ run, files }: Manifest): Uint8Array {
  const list: unknown[] = [];
  for (const [name, { size, sum, blocks }] of files) list.push({ name, size, sum, blocks });
  return encodeText(`${JSON.stringify({ version: VERSION, run, files: list })}\n`);
}

/** Most bytes that one set of checksums is of: whoever compares them has a buffer of this size. */
export const MAX_BLOCK = 1 << 20;

/** A member of `blocks`. Read by hand: there are thousands, and a list of one form has others than a pair. */
const block: Form<Block> = {
  read: (value, at) => {
    const [length, what, offset] = Array.isArray(value) ? (value as unknown[]) : at.fail('a block');
    const size = whole.read(length, at.at(0));
    if (size === 0 || size % 32 !== 0) at.at(0).fail('a length of whole pages');
    const sums = text.read(what, at.at(1));
    if (offset !== undefined) {
      return isPages(sums) ? [size, sums, whole.read(offset, at.at(2))] : at.at(1).fail('a file of pages');
    }
    if (size > MAX_BLOCK) at.at(0).fail(`a length of at most ${MAX_BLOCK}`);
    return /^[\da-f]{32}$/.test(sums) ? [size, sums] : at.at(1).fail('four checksums');
  },
};

const form = object({
  version: whole,
  run: text,
  files: list(object({ name: text, size: whole, sum: optional(text), blocks: optional(list(block)) })),
});

/** Reads a manifest. @throws ImageError for one that is damaged, or newer than what is known here */
export function readManifest(bytes: Uint8Array): Manifest {
  const value = readJson(form, bytes, MANIFEST);
  if (value.version !== VERSION) {
    throw new ImageError({ file: MANIFEST, field: 'version', reason: `${value.version} is not known here` });
  }
  const files = new Map<string, Mark>();
  for (const { name, size, sum, blocks } of value.files) {
    if (name.includes('/') || files.has(name)) throw damaged();
    if (isPages(name)) {
      if (blocks && blocks.reduce((sum, [length]) => sum + length, 0) !== size) throw damaged();
      files.set(name, { size, blocks });
    } else if (sum !== undefined) files.set(name, { size, sum });
    else throw damaged();
  }
  return { run: value.run, files };
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
