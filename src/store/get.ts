/** Writes a snapshot of a store into a folder. */
import { closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { StasisError } from '../base/errors.ts';
import { ImageError } from '../images/error.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import type { Contents } from './contents.ts';
import type { Snapshot, SnapshotFile } from './snapshots.ts';

/** Bytes that are gathered before they are written. */
const BUFFER = 4 << 20;

/**
 * Writes all files of a snapshot into an empty folder, which is made if it is not there. If that fails, the folder is
 * empty as before. Returns how many bytes the files have.
 * @throws StasisError
 */
export function getFolder(contents: Contents, { files }: Snapshot, dir: string): number {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (readdirSync(dir).length > 0) {
    const remedy = 'name a folder that is empty, or none yet, with -D';
    throw new StasisError({ kind: 'usage', resource: dir, reason: 'is not empty', remedy });
  }
  try {
    let size = 0;
    for (const file of files) {
      const parts = file.path.split('/').slice(0, -1);
      if (parts.length > 0) mkdirSync(`${dir}/${parts.join('/')}`, { recursive: true, mode: 0o700 });
      writeFile(contents, file, `${dir}/${file.path}`);
      size += file.size;
    }
    return size;
  } catch (error) {
    for (const name of readdirSync(dir)) rmSync(`${dir}/${name}`, { recursive: true, force: true });
    throw error;
  }
}

/** Writes a file; pages of zeros become holes. */
function writeFile(contents: Contents, file: SnapshotFile, path: string): void {
  const fd = openSync(path, 'wx', file.mode);
  try {
    const gathered = new Gathered(fd);
    for (const digest of contents.leavesOf(file)) {
      const { length, place } = contents.find(digest, file.path);
      if (place) gathered.add(contents.get(digest, file.path));
      else gathered.skip(length);
    }
    gathered.flush();
    if (gathered.size !== file.size) {
      throw new ImageError({
        file: file.path,
        reason: `its parts have ${gathered.size} bytes, and it had ${file.size}`,
      });
    }
    ftruncateSync(fd, file.size);
  } finally {
    closeSync(fd);
  }
}

/** Gathers what is to be written to a file, from its beginning on. */
class Gathered {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(BUFFER);
  #length = 0;
  /** Bytes before those in the buffer. */
  #done = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get size(): number {
    return this.#done + this.#length;
  }

  add(content: Uint8Array): void {
    if (this.#length + content.length > BUFFER) this.flush();
    this.#buffer.set(content, this.#length);
    this.#length += content.length;
  }

  skip(length: number): void {
    this.flush();
    this.#done += length;
  }

  flush(): void {
    requireUninterrupted();
    for (let at = 0; at < this.#length; ) {
      at += writeSync(this.#fd, this.#buffer, at, this.#length - at, this.#done + at);
    }
    this.#done += this.#length;
    this.#length = 0;
  }
}
