/**
 * A folder of images. Writing keeps the promise that an image set is never half a set: the inventory, without which
 * nobody restores anything, is removed before the first file is written and written after the last, when a manifest tells
 * what all the others look like.
 */

import { StasisError } from '../base/errors.ts';
import { holdsContents } from './contents.ts';
import { type Disk, nodeDisk } from './disk.ts';
import { ImageError } from './error.ts';
import { type Entry, readEntries, readHeaded, readImage, writeEntries, writeHeaded, writeImage } from './image.ts';
import { type HeadedKind, type ImageKind, imageName, type RawKind } from './kind.ts';
import { Images } from './kinds.ts';
import {
  compare,
  isOfAnotherDump,
  isPages,
  MANIFEST,
  type Mark,
  manifestBytes,
  markOf,
  markOfFile,
  readManifest,
} from './manifest.ts';
import type { InputOf, Message, TypeOf } from './message.ts';
import { type PageMap, readPagemap, writePagemap } from './pagemap.ts';
import type { InventoryEntry, inventoryEntry } from './schema/tree.ts';
import type { UnknownFieldReporter } from './wire.ts';

/** What tells images of one kind apart: a PID, an id, a name. */
export type ImageId = number | bigint | string;

/** Files up to this size are kept between being compared with the manifest and being read. */
const KEPT = 1024 * 1024;

/** No image but those with page or file contents is ever this large; a larger one is damaged or hostile. */
const MAX_IMAGE_SIZE = 1024 * 1024 * 1024;

/**
 * What the manifest says of a set: all files are as they were written; it tells of an earlier dump than the images; or there
 * is none, since `criu` wrote the images.
 */
export type Wholeness = 'whole' | 'stale' | 'untold';

/** Reads the images of one folder. An absent image is an empty one. */
export class ImageSet {
  readonly dir: string;
  readonly onUnknown: UnknownFieldReporter | undefined;
  readonly disk: Disk;
  private checked: Wholeness | undefined;
  /** What was compared with the manifest need not be read again. */
  private readonly kept = new Map<string, Uint8Array>();

  /** `onUnknown` is told of fields a newer program wrote; without it they are errors. */
  constructor(dir: string, onUnknown?: UnknownFieldReporter, disk = nodeDisk()) {
    this.dir = dir;
    this.onUnknown = onUnknown;
    this.disk = disk;
  }

  /** The path of an image, there or not. */
  path(kind: RawKind, id?: ImageId): string {
    return `${this.dir}/${imageName(kind, id)}`;
  }

  /** All messages of an image without blobs. */
  read<M extends Message>(kind: ImageKind<M, never>, id?: ImageId): TypeOf<M>[] {
    const bytes = this.bytes(kind, id);
    return bytes ? readImage(kind, imageName(kind, id), bytes, this) : [];
  }

  /** The message of an image that must be there and hold exactly one. */
  readOne<M extends Message>(kind: ImageKind<M, never>, id?: ImageId, whyNeeded = 'image is missing'): TypeOf<M> {
    const file = imageName(kind, id);
    const bytes = this.bytes(kind, id);
    if (!bytes) throw new ImageError({ file: this.path(kind, id), reason: whyNeeded });
    const [only, ...more] = readImage(kind, file, bytes, this);
    if (only === undefined || more.length > 0) {
      throw new ImageError({ file, reason: `${more.length + (only ? 1 : 0)} entries where there is always one` });
    }
    return only;
  }

  /** All messages of an image, with their blobs. */
  readEntries<M extends Message, E>(kind: ImageKind<M, E>, id?: ImageId): Entry<TypeOf<M>, E>[] {
    const bytes = this.bytes(kind, id);
    return bytes ? readEntries(kind, imageName(kind, id), bytes, this) : [];
  }

  /** An image whose first entry differs from the rest; undefined if it is not there. */
  readHeaded<H extends Message, M extends Message, E>(
    kind: HeadedKind<H, M, E>,
    id: ImageId,
  ): { head: Entry<TypeOf<H>, E>; entries: Entry<TypeOf<M>, E>[] } | undefined {
    const bytes = this.bytes(kind, id);
    return bytes && readHeaded(kind, imageName(kind, id), bytes, this);
  }

  /** A pagemap: `Images.pagemap` of a PID or `Images.shmemPagemap` of a segment; undefined if it is not there. */
  readPagemap(kind: typeof Images.pagemap, id: ImageId): PageMap | undefined {
    const bytes = this.bytes(kind, id);
    return bytes && readPagemap(imageName(kind, id), bytes, this);
  }

  /** The inventory; its absence means that the dump was never finished. */
  inventory(): InventoryEntry {
    const missing = 'there is no inventory: not a folder of images, or a dump that was not finished';
    return this.readOne(Images.inventory, undefined, missing);
  }

  /**
   * Compares all files of the set with its manifest, once.
   *
   * @throws ImageError naming a file that is not what the dump wrote, or is missing
   */
  wholeness(): Wholeness {
    this.checked ??= this.compareAll();
    return this.checked;
  }

  private compareAll(): Wholeness {
    const bytes = readFile(this.disk, `${this.dir}/${MANIFEST}`, MANIFEST);
    if (!bytes) return 'untold';
    const manifest = readManifest(bytes);
    const { dump_criu_run_id } = this.inventory();
    const inventory = imageName(Images.inventory);
    try {
      compare(manifest, inventory, this.look(inventory, 0));
    } catch (error) {
      if (isOfAnotherDump(manifest, dump_criu_run_id)) return 'stale';
      throw error;
    }
    for (const [name, { size }] of manifest.files) {
      if (name !== inventory) compare(manifest, name, this.look(name, size));
    }
    return 'whole';
  }

  /** What a file looks like now; it is kept if it was small when it was written. */
  private look(name: string, size: number): Mark | undefined {
    if (size > KEPT || isPages(name)) return lookAt(this.disk, this.dir, name);
    const bytes = readFile(this.disk, `${this.dir}/${name}`, name);
    if (bytes) this.kept.set(name, bytes);
    return bytes && markOf(bytes);
  }

  /** The content of one of our own files (`stasis-*`); undefined if there is none, or if it tells of an earlier dump. */
  own(name: string): Uint8Array | undefined {
    return this.wholeness() === 'stale' ? undefined : this.file(name);
  }

  /** The content of an image file; undefined if there is none. */
  bytes(kind: RawKind, id?: ImageId): Uint8Array | undefined {
    return this.file(imageName(kind, id));
  }

  private file(name: string): Uint8Array | undefined {
    return this.kept.get(name) ?? readFile(this.disk, `${this.dir}/${name}`, name);
  }
}

/** Reads a regular file of sane size; undefined if it does not exist. */
function readFile(disk: Disk, path: string, name: string): Uint8Array | undefined {
  let fd: number;
  try {
    // Not blocking, so that a FIFO of that name cannot hold us up.
    fd = disk.open(path, O_RDONLY | O_NONBLOCK, 0);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
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

const O_RDONLY = 0;
const O_NONBLOCK = 0o4000;
/** O_RDWR | O_CREAT | O_EXCL */
const FRESH = 0o302;
/** O_WRONLY | O_APPEND */
const APPENDING = 0o2001;

/**
 * Writes a folder of images. Hold it with `using`: unless {@link commit} was reached, everything written is removed
 * again at the end of the scope.
 */
export class ImageSetWriter implements Disposable {
  readonly dir: string;
  private readonly disk: Disk;
  /** What is known of the files written; of those that others fill, nothing yet. */
  private readonly written = new Map<string, Mark | undefined>();
  private stale: Set<string> | undefined;
  private committed = false;

  /** Nothing is touched before the first write. */
  constructor(dir: string, disk = nodeDisk()) {
    this.dir = dir;
    this.disk = disk;
  }

  /** Writes an image without blobs; with no messages there will be no such image. */
  write<M extends Message>(kind: ImageKind<M, never>, id: ImageId | undefined, messages: readonly InputOf<M>[]): void {
    const name = imageName(kind, id);
    if (messages.length === 0) this.remove(name);
    else this.put(name, writeImage(kind, messages, name));
  }

  /** Writes an image with blobs; with no entries there will be no such image. */
  writeEntries<M extends Message, E>(
    kind: ImageKind<M, E>,
    id: ImageId | undefined,
    entries: readonly Entry<InputOf<M>, E>[],
  ): void {
    const name = imageName(kind, id);
    if (entries.length === 0) this.remove(name);
    else this.put(name, writeEntries(kind, entries, name));
  }

  /** Writes an image whose first entry differs from the rest. */
  writeHeaded<H extends Message, M extends Message, E>(
    kind: HeadedKind<H, M, E>,
    id: ImageId,
    head: Entry<InputOf<H>, E>,
    entries: readonly Entry<InputOf<M>, E>[],
  ): void {
    const name = imageName(kind, id);
    this.put(name, writeHeaded(kind, head, entries, name));
  }

  /** Writes a pagemap. */
  writePagemap(kind: typeof Images.pagemap, id: ImageId, map: PageMap): void {
    const name = imageName(kind, id);
    this.put(name, writePagemap(map, name));
  }

  /** Writes a file of the set as it is: a raw image, or one of our own. */
  put(name: string, bytes: Uint8Array): void {
    writeAll(this.disk, this.create(name), `${this.dir}/${name}`, bytes);
    this.written.set(name, markOf(bytes));
  }

  /** Adds to a file of the set, which may not be there yet. */
  append(name: string, bytes: Uint8Array): void {
    if (!this.written.has(name)) {
      this.put(name, bytes);
      return;
    }
    const path = `${this.dir}/${name}`;
    this.written.set(name, undefined);
    writeAll(this.disk, openFile(this.disk, path, APPENDING, 'opened'), path, bytes);
  }

  /** Creates a file of the set and leaves writing (and closing) it to the caller: page data. */
  create(name: string): number {
    this.remove(name);
    const fd = openFile(this.disk, `${this.dir}/${name}`, FRESH, 'created');
    this.written.set(name, undefined);
    return fd;
  }

  /** Completes the set: leftovers of an earlier dump are removed, then the manifest is written, then the inventory. */
  commit(inventory: InputOf<typeof inventoryEntry>): void {
    this.begin();
    for (const kind of Object.values(Images)) {
      const name = imageName(kind);
      if (kind.framing !== 'service' && !kind.pattern.includes('%') && !this.written.has(name)) this.remove(name);
    }
    // What we keep beside the images would be taken for part of this dump.
    for (const name of [...(this.stale ?? [])]) if (name.startsWith('stasis-')) this.remove(name);
    const name = imageName(Images.inventory);
    const bytes = writeImage(Images.inventory, [inventory], name);
    const files = this.marks().set(name, markOf(bytes));
    this.put(MANIFEST, manifestBytes({ run: inventory.dump_criu_run_id ?? '', files }));
    this.put(name, bytes);
    this.committed = true;
  }

  /** The marks of everything written; what others have filled is read again. */
  private marks(): Map<string, Mark> {
    const marks = new Map<string, Mark>();
    for (const [name, known] of this.written) {
      const mark = known ?? lookAt(this.disk, this.dir, name);
      if (!mark) throw ioError(`${this.dir}/${name}`, 'has vanished', 'ENOENT');
      marks.set(name, mark);
    }
    return marks;
  }

  [Symbol.dispose](): void {
    if (!this.committed) this.abort();
  }

  /** Removes everything written so far, as far as possible. */
  abort(): void {
    for (const name of this.written.keys()) {
      try {
        this.disk.unlink(`${this.dir}/${name}`);
      } catch {
        // What made us give up may also be in the way here; it is reported already.
      }
    }
    this.written.clear();
  }

  /** Before the first write: from now on the folder is not a finished dump any more. */
  private begin(): void {
    if (this.stale) return;
    try {
      this.stale = new Set(this.disk.namesIn(this.dir));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw ioError(this.dir, 'cannot be read', error);
      this.disk.makeDirectory(this.dir);
      this.stale = new Set();
    }
    this.remove(imageName(Images.inventory));
  }

  /** Removes a file an earlier dump, or we, left under this name. */
  private remove(name: string): void {
    this.begin();
    if (!this.stale?.delete(name) && !this.written.delete(name)) return;
    unlink(this.disk, `${this.dir}/${name}`);
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
    unlink(disk, path); // half a file is worse than none
    throw error;
  }
}

/** Opens a file for writing. FRESH: it must not be there yet, so that nobody's link is followed. */
function openFile(disk: Disk, path: string, flags: number, what: 'created' | 'opened'): number {
  try {
    return disk.open(path, flags, holdsContents(path.slice(path.lastIndexOf('/') + 1)) ? 0o600 : 0o644);
  } catch (error) {
    throw ioError(path, `cannot be ${what}`, error);
  }
}

/** What a file looks like now; undefined if there is none. */
function lookAt(disk: Disk, dir: string, name: string): Mark | undefined {
  try {
    return markOfFile(disk, dir, name);
  } catch (error) {
    throw error instanceof StasisError ? error : ioError(`${dir}/${name}`, 'cannot be read', error);
  }
}

/** Writes all of `bytes`, however little the kernel takes at once, and closes `fd`. */
function writeAll(disk: Disk, fd: number, path: string, bytes: Uint8Array): void {
  try {
    disk.write(fd, bytes);
  } catch (error) {
    throw ioError(path, 'cannot be written', error);
  } finally {
    closeChecked(disk, fd, path);
  }
}

function unlink(disk: Disk, path: string): void {
  try {
    disk.unlink(path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw ioError(path, 'cannot be removed', error);
  }
}

/** On network file systems a write may only fail here. */
function closeChecked(disk: Disk, fd: number, path: string): void {
  try {
    disk.close(fd);
  } catch (error) {
    throw ioError(path, 'cannot be closed', error);
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function ioError(path: string, what: string, cause: unknown): StasisError {
  const code = codeOf(cause);
  const remedy = code === 'ENOSPC' || code === 'EDQUOT' ? 'make room on the file system of the images' : undefined;
  return new StasisError({ kind: 'io', resource: path, reason: `${what}: ${code ?? String(cause)}`, remedy, cause });
}
