/** Adds a folder of images to the contents of a store. */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { StasisError } from '../base/errors.ts';
import { ImageSet } from '../images/image-set.ts';
import { PARENT } from '../images/image-set-writer.ts';
import { disk } from '../kernel/disk.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { type Contents, PAGE, PIECE } from './contents.ts';
import type { SnapshotFile } from './snapshots.ts';
import { TreeWriter } from './tree.ts';

/** What was added. Sizes are bytes. */
export interface Added {
  readonly files: readonly SnapshotFile[];
  /** Of all files. */
  readonly size: number;
  /** What the store did not have. */
  readonly fresh: number;
}

/** Adds all files of a folder, and of those of earlier dumps that it leads to. @throws StasisError */
export function addFolder(contents: Contents, imagesDir: string): Added {
  const files = filesOf(imagesDir).map(({ path, prefix, name }) => addFile(contents, path, prefix + name));
  return { files, size: files.reduce((sum, { size }) => sum + size, 0), fresh: contents.added };
}

/** The files of a chain of images, those of the last dump first. @throws StasisError if one is not complete */
function filesOf(imagesDir: string): { path: string; prefix: string; name: string }[] {
  const found: { path: string; prefix: string; name: string }[] = [];
  const seen = new Set<string>();
  for (let dir = imagesDir, prefix = ''; ; dir += `/${PARENT}`, prefix += `${PARENT}/`) {
    const status = disk.status(dir);
    if (!status) throw unfit(dir, 'does not exist');
    if (seen.has(`${status.dev}:${status.ino}`)) throw unfit(dir, 'is its own earlier dump');
    seen.add(`${status.dev}:${status.ino}`);
    requireComplete(dir, prefix !== '');
    const entries = readdirSync(dir, { withFileTypes: true });
    for (const entry of entries) {
      const { name } = entry;
      if (entry.isFile()) found.push({ path: `${dir}/${name}`, prefix, name });
      else if (name !== PARENT) throw unfit(`${dir}/${name}`, 'is neither a file nor the images of an earlier dump');
    }
    if (!entries.some(({ name }) => name === PARENT)) return found;
  }
}

/** Pre-dumps have no inventory that a restore would take, but what they have must be what they wrote. */
function requireComplete(dir: string, isEarlier: boolean): void {
  const images = new ImageSet(dir, undefined, disk);
  if (!isEarlier || disk.status(`${dir}/inventory.img`)) images.wholeness();
  if (!isEarlier) images.inventory();
}

function addFile(contents: Contents, path: string, name: string): SnapshotFile {
  const fd = openSync(path, 'r');
  try {
    const { size, mode } = fstatSync(fd);
    const piece = /(^|\/)pages-\d+\.img$/.test(name) ? PAGE : PIECE;
    const tree = new TreeWriter((node) => contents.put(node));
    const buffer = Buffer.alloc(1 << 20);
    let done = 0;
    while (done < size) {
      requireUninterrupted();
      const got = fill(fd, buffer, Math.min(buffer.length, size - done), done);
      if (got === 0) throw unfit(path, 'has become shorter while it was read');
      for (let at = 0; at < got; at += piece) tree.add(contents.put(buffer.subarray(at, Math.min(at + piece, got))));
      done += got;
    }
    const root = tree.finish();
    const digest = root && Buffer.from(root.digest).toString('hex');
    return { path: name, mode: mode & 0o777, size, ...(digest && { digest }), levels: root?.levels ?? 0 };
  } finally {
    closeSync(fd);
  }
}

/** Reads until `length` bytes are there or the file ends, so that pieces begin at multiples of their size. */
function fill(fd: number, into: Uint8Array, length: number, offset: number): number {
  let done = 0;
  while (done < length) {
    const got = readSync(fd, into, done, length - done, offset + done);
    if (got === 0) break;
    done += got;
  }
  return done;
}

function unfit(resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'image', resource, reason, remedy: 'name the folder of a complete dump with -D' });
}
