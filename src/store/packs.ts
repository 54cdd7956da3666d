/**
 * Packs: files of contents, one behind the other, each with an index of their digests. A pack is there when its index
 * is; what was written before is removed by whoever next changes the store.
 *
 *     index: magic; for each content its digest, its offset (8 bytes) and its length (4); then the digest of it all
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { ImageError } from '../images/error.ts';
import { DIGEST_SIZE, type DigestMap, type Place } from './digest-map.ts';

const MAGIC = Buffer.from('stasis-index 1\n\0', 'latin1');
const ENTRY = DIGEST_SIZE + 8 + 4;
/** Bytes that are gathered before they are written. */
const BUFFER = 4 << 20;

/** The digest of a content (SHA-256). */
export function digestOf(content: Uint8Array): Uint8Array {
  return createHash('sha256').update(content).digest();
}

/** The numbers of the packs in a directory, ascending. */
export function packsIn(dir: string): number[] {
  return readdirSync(dir)
    .flatMap((name) => /^(\d+)\.index$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** Removes what was begun and not completed. */
export function removeUnfinished(dir: string): void {
  const packs = new Set(packsIn(dir).map(nameOf));
  for (const name of readdirSync(dir)) {
    if (!packs.has(name.replace(/\.(index|pack)$/, ''))) rmSync(`${dir}/${name}`, { force: true });
  }
}

/** Removes packs. The index goes first: without it a pack is not there. */
export function removePacks(dir: string, numbers: Iterable<number>): void {
  for (const number of numbers) {
    rmSync(`${dir}/${nameOf(number)}.index`, { force: true });
    rmSync(`${dir}/${nameOf(number)}.pack`, { force: true });
  }
}

/** Bytes of content in a pack. */
export function sizeOf(dir: string, number: number): number {
  return statSync(`${dir}/${nameOf(number)}.pack`).size;
}

/** Adds the contents of a pack to a map. @throws ImageError if its index is damaged */
export function readIndex(dir: string, number: number, into: DigestMap): void {
  const file = `${nameOf(number)}.index`;
  const bytes = readFileSync(`${dir}/${file}`);
  const end = bytes.length - DIGEST_SIZE;
  const whole = end >= MAGIC.length && (end - MAGIC.length) % ENTRY === 0;
  const isOurs = whole && bytes.subarray(0, MAGIC.length).equals(MAGIC);
  if (!isOurs || !bytes.subarray(end).equals(digestOf(bytes.subarray(0, end)))) {
    throw new ImageError({ file, reason: 'damaged', remedy: 'bring it back from a copy of the store' });
  }
  for (let at = MAGIC.length; at < end; at += ENTRY) {
    const digest = bytes.subarray(at, at + DIGEST_SIZE);
    if (into.find(digest) >= 0) continue; // a collection that was killed leaves contents twice
    const offset = Number(bytes.readBigUInt64LE(at + DIGEST_SIZE));
    into.add(digest, { pack: number, offset, length: bytes.readUInt32LE(at + DIGEST_SIZE + 8) });
  }
}

/** Writes one pack. Unless it is finished, nothing is left of it. */
export class PackWriter implements Disposable {
  readonly #dir: string;
  readonly #number: number;
  readonly #path: string;
  #fd: number | undefined;
  readonly #buffer = Buffer.alloc(BUFFER);
  #buffered = 0;
  #size = 0;
  readonly #index: Buffer[] = [MAGIC];
  #isThere = false;

  constructor(dir: string, number: number) {
    this.#dir = dir;
    this.#number = number;
    this.#path = `${dir}/${nameOf(number)}`;
  }

  /** Bytes of content so far. */
  get size(): number {
    return this.#size;
  }

  /** Adds a content; returns where it will be. */
  add(digest: Uint8Array, content: Uint8Array): Place {
    if (this.#buffered + content.length > BUFFER) this.#flush();
    if (content.length > BUFFER) this.#write(content);
    else {
      this.#buffer.set(content, this.#buffered);
      this.#buffered += content.length;
    }
    const place = { pack: this.#number, offset: this.#size, length: content.length };
    const entry = Buffer.alloc(ENTRY);
    entry.set(digest);
    entry.writeBigUInt64LE(BigInt(place.offset), DIGEST_SIZE);
    entry.writeUInt32LE(place.length, DIGEST_SIZE + 8);
    this.#index.push(entry);
    this.#size += content.length;
    return place;
  }

  /** Makes the pack lasting, if anything was added. */
  finish(): void {
    if (this.#index.length === 1) return;
    this.#flush();
    const pack = this.#open();
    fsyncSync(pack);
    const index = Buffer.concat(this.#index);
    writeLasting(`${this.#path}.index`, Buffer.concat([index, digestOf(index)]));
    this.#isThere = true;
    syncDirectory(this.#dir);
  }

  #flush(): void {
    if (this.#buffered > 0) this.#write(this.#buffer.subarray(0, this.#buffered));
    this.#buffered = 0;
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#open(), bytes, done, bytes.length - done);
  }

  #open(): number {
    this.#fd ??= openSync(`${this.#path}.pack`, 'wx', 0o600);
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    if (!this.#isThere) rmSync(`${this.#path}.pack`, { force: true });
  }
}

/** Reads contents out of packs. */
export class PackReader implements Disposable {
  readonly #dir: string;
  readonly #open = new Map<number, number>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Reads into the beginning of a buffer. @throws ImageError if the pack is shorter */
  read({ pack, offset, length }: Place, into: Uint8Array): Uint8Array {
    let fd = this.#open.get(pack);
    if (fd === undefined) {
      fd = openSync(`${this.#dir}/${nameOf(pack)}.pack`, 'r');
      this.#open.set(pack, fd);
    }
    for (let done = 0; done < length; ) {
      const got = readSync(fd, into, done, length - done, offset + done);
      if (got === 0) throw damaged(pack, offset, 'ends too early');
      done += got;
    }
    return into.subarray(0, length);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open.values()) closeSync(fd);
  }
}

/** The error for a content that is not what it was. */
export function damaged(pack: number, offset: number, reason = 'is not what it was'): ImageError {
  return new ImageError({
    file: `${nameOf(pack)}.pack`,
    reason: `the content at ${offset} ${reason}`,
    remedy: 'bring the pack back from a copy of the store; "stasis store check" lists what is damaged',
  });
}

/** Writes a file that is there as a whole or not at all. */
export function writeLasting(path: string, bytes: Uint8Array): void {
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  const fd = openSync(fresh, 'wx', 0o600);
  try {
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}

/** Makes the names in a directory lasting. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function nameOf(number: number): string {
  return `${number}`.padStart(8, '0');
}
