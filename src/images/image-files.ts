/** Files of a folder of images as they are read and written whole, with errors that name the path. */

import { errnoNameOf, StasisError } from '../base/errors.ts';
import { holdsContents } from './contents.ts';
import { type Disk, nodeDisk } from './disk.ts';
import { ImageError } from './error.ts';
import { type Mark, markOfFile } from './manifest.ts';

/**
 * In bytes. Only images with page or file contents are ever this large; a larger one of another kind is damaged or
 * hostile.
 */
const MAX_IMAGE_SIZE = 1024 * 1024 * 1024;

const O_RDONLY = 0;
const O_NONBLOCK = 0o4000;
/** O_RDWR | O_CREAT | O_EXCL */
export const FRESH = 0o302;
/** O_WRONLY | O_APPEND */
export const APPENDING = 0o2001;

/** Reads a regular file of plausible size; undefined if it does not exist. */
export function readFile(disk: Disk, path: string, name: string): Uint8Array | undefined {
  let fd: number;
  try {
    // O_NONBLOCK, since the open of a FIFO of that name would block.
    fd = disk.open(path, O_RDONLY | O_NONBLOCK, 0);
  } catch (error) {
    if (errnoNameOf(error) === 'ENOENT') return undefined;
    throw ioError(path, 'cannot be opened', error);
  }
  try {
    const { regular, size } = disk.statusOf(fd);
    if (!regular) throw new ImageError({ file: name, reason: 'not a regular file' });
    if (size > MAX_IMAGE_SIZE) throw new ImageError({ file: name, reason: `absurd size: ${size} bytes` });
    const bytes = new Uint8Array(size);
    const filled = disk.read(fd, bytes);
    return filled < bytes.length ? bytes.subarray(0, filled) : bytes;
  } catch (error) {
    throw error instanceof StasisError ? error : ioError(path, 'cannot be read', error);
  } finally {
    disk.close(fd);
  }
}

/**
 * Writes one file outside a set, in place of one that may be there: `stats-restore`, a `cpuinfo.img`.
 * Throws StasisError (kind `io`).
 */
export function writeWhole(path: string, bytes: Uint8Array, disk = nodeDisk()): void {
  unlink(disk, path);
  const fd = openFile(disk, path, FRESH, 'created');
  try {
    writeAll(disk, fd, path, bytes);
  } catch (error) {
    unlink(disk, path); // an incomplete file is worse than none
    throw error;
  }
}

/** Opens a file for writing. With FRESH it must not exist yet, so that no symbolic link is followed. */
export function openFile(disk: Disk, path: string, flags: number, what: 'created' | 'opened'): number {
  try {
    return disk.open(path, flags, holdsContents(path.slice(path.lastIndexOf('/') + 1)) ? 0o600 : 0o644);
  } catch (error) {
    throw ioError(path, `cannot be ${what}`, error);
  }
}

/** The mark of a file as it is now; undefined if there is none. */
export function lookAt(disk: Disk, dir: string, name: string): Mark | undefined {
  try {
    return markOfFile(disk, dir, name);
  } catch (error) {
    throw error instanceof StasisError ? error : ioError(`${dir}/${name}`, 'cannot be read', error);
  }
}

/** Writes all of `bytes`, repeating short writes, and closes `fd`. */
export function writeAll(disk: Disk, fd: number, path: string, bytes: Uint8Array): void {
  try {
    disk.write(fd, bytes);
  } catch (error) {
    throw ioError(path, 'cannot be written', error);
  } finally {
    closeChecked(disk, fd, path);
  }
}

/** Removes a file that may be there. */
export function unlink(disk: Disk, path: string): void {
  try {
    disk.unlink(path);
  } catch (error) {
    if (errnoNameOf(error) !== 'ENOENT') throw ioError(path, 'cannot be removed', error);
  }
}

/** Closes a file and checks the result, since network file systems may report a failed write only at close. */
function closeChecked(disk: Disk, fd: number, path: string): void {
  try {
    disk.close(fd);
  } catch (error) {
    throw ioError(path, 'cannot be closed', error);
  }
}

/** The error that a file cannot be read or written, with its remedy if the disk is full. */
export function ioError(path: string, what: string, cause: unknown): StasisError {
  const code = errnoNameOf(cause);
  const remedy = code === 'ENOSPC' || code === 'EDQUOT' ? 'make room on the file system of the images' : undefined;
  return new StasisError({ kind: 'io', resource: path, reason: `${what}: ${code ?? String(cause)}`, remedy, cause });
}
