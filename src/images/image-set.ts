/**
 * A folder of images. A set that was written only in part can never be restored: the inventory, which every restore
 * needs, is removed before the first file is written and written after all others. Just before it comes the manifest,
 * which lists the sizes and checksums of the other files.
 */

import { errnoNameOf, StasisError } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { holdsContents } from './contents.ts';
import { type Disk, nodeDisk } from './disk.ts';
import { ImageError } from './error.ts';
import { type Entry, readEntries, readHeaded, readImage, writeEntries, writeHeaded, writeImage } from './image.ts';
import { type HeadedKind, type ImageKind, imageName, type RawKind } from './kind.ts';
import { Images } from './kinds.ts';
import {
  type Block,
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

/** What distinguishes the images of one kind: a PID, an ID or a name. */
export type ImageId = number | bigint | string;

/**
 * Files of up to this many bytes are kept in memory after the comparison with the manifest, so that they are read once.
 */
const KEPT = 1024 * 1024;

/**
 * In bytes. Only images with page or file contents are ever this large; a larger one of another kind is damaged or
 * hostile.
 */
const MAX_IMAGE_SIZE = 1024 * 1024 * 1024;

/**
 * What the manifest says of a set. `whole`: all files are as they were written. `stale`: the manifest belongs to an
 * earlier dump than the images. `untold`: there is no manifest, because `criu` wrote the images.
 */
export type Wholeness = 'whole' | 'stale' | 'untold';

/** Reads the images of one folder. An absent image is an empty one. */
export class ImageSet {
  readonly dir: string;
  readonly onUnknown: UnknownFieldReporter | undefined;
  readonly disk: Disk;
  private checked: Wholeness | undefined;
  /** Contents of small files that were read for the comparison with the manifest. */
  private readonly kept = new Map<string, Uint8Array>();

  /** `onUnknown` is called for fields that the schema does not know; without it they are errors. */
  constructor(dir: string, onUnknown?: UnknownFieldReporter, disk = nodeDisk()) {
    this.dir = dir;
    this.onUnknown = onUnknown;
    this.disk = disk;
  }

  /** The path of an image, whether it exists or not. */
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
    if (!bytes) throw new ImageError({ file: this.path(kind, id), code: 'IMAGE_MISSING', reason: whyNeeded });
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

  /** The checksums of all page contents, by file; none where `criu` has made the images. @throws ImageError */
  pageBlocks(): ReadonlyMap<string, readonly Block[]> {
    const bytes = this.wholeness() === 'whole' ? readFile(this.disk, `${this.dir}/${MANIFEST}`, MANIFEST) : undefined;
    const marks = bytes ? [...readManifest(bytes).files] : [];
    return new Map(marks.flatMap(([name, { blocks }]) => (blocks ? [[name, blocks] as const] : [])));
  }

  /** The size and checksum a file has now. Its content is kept if it was small when it was written. */
  private look(name: string, size: number): Mark | undefined {
    if (size > KEPT || isPages(name)) return lookAt(this.disk, this.dir, name);
    const bytes = readFile(this.disk, `${this.dir}/${name}`, name);
    if (bytes) this.kept.set(name, bytes);
    return bytes && markOf(bytes);
  }

  /**
   * The content of a file that only Stasis writes (`stasis-*`); undefined if there is none or if it belongs to an
   * earlier dump.
   */
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

/** Reads a regular file of plausible size; undefined if it does not exist. */
function readFile(disk: Disk, path: string, name: string): Uint8Array | undefined {
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
  /** Size and checksum of each file written; undefined for files that the caller fills. */
  private readonly written = new Map<string, Mark | undefined>();
  private readonly blocks = new Map<string, readonly Block[]>();
  private stale: Set<string> | undefined;
  private committed = false;

  /** The folder is not changed before the first write. */
  constructor(dir: string, disk = nodeDisk()) {
    this.dir = dir;
    this.disk = disk;
  }

  /** Writes an image without blobs; no file is made if there are no messages. */
  write<M extends Message>(kind: ImageKind<M, never>, id: ImageId | undefined, messages: readonly InputOf<M>[]): void {
    const name = imageName(kind, id);
    if (messages.length === 0) this.remove(name);
    else this.put(name, writeImage(kind, messages, name));
  }

  /** Writes an image with blobs; no file is made if there are no entries. */
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

  /** Writes a file of the set as it is: a raw image, or a file that only Stasis reads. */
  put(name: string, bytes: Uint8Array): void {
    writeAll(this.disk, this.create(name), `${this.dir}/${name}`, bytes);
    this.written.set(name, markOf(bytes));
  }

  /** Appends to a file of the set; the first call creates it. */
  append(name: string, bytes: Uint8Array): void {
    if (!this.written.has(name)) {
      this.put(name, bytes);
      return;
    }
    const path = `${this.dir}/${name}`;
    this.written.set(name, undefined);
    writeAll(this.disk, openFile(this.disk, path, APPENDING, 'opened'), path, bytes);
  }

  /** Creates a file of the set and returns its descriptor. The caller writes it (page data) and closes it. */
  create(name: string): number {
    this.remove(name);
    const fd = openFile(this.disk, `${this.dir}/${name}`, FRESH, 'created');
    this.written.set(name, undefined);
    return fd;
  }

  /** Notes the checksums of page contents that somebody has filled a file of the set with. */
  noteBlocks(name: string, blocks: readonly Block[]): void {
    this.blocks.set(name, blocks);
  }

  /** Completes the set: leftovers of an earlier dump are removed, then the manifest is written, then the inventory. */
  commit(inventory: InputOf<typeof inventoryEntry>): void {
    this.begin();
    for (const kind of Object.values(Images)) {
      const name = imageName(kind);
      if (kind.framing !== 'service' && !kind.pattern.includes('%') && !this.written.has(name)) this.remove(name);
    }
    // Files of Stasis' own that an earlier dump left would be taken for part of this one.
    for (const name of [...(this.stale ?? [])]) if (name.startsWith('stasis-')) this.remove(name);
    const name = imageName(Images.inventory);
    const bytes = writeImage(Images.inventory, [inventory], name);
    const files = this.marks().set(name, markOf(bytes));
    this.put(MANIFEST, manifestBytes({ run: inventory.dump_criu_run_id ?? '', files }));
    this.put(name, bytes);
    this.committed = true;
  }

  /** The marks of everything written; files that callers filled are read for it. */
  private marks(): Map<string, Mark> {
    const marks = new Map<string, Mark>();
    for (const [name, known] of this.written) {
      const mark = known ?? lookAt(this.disk, this.dir, name);
      if (!mark) throw ioError(`${this.dir}/${name}`, 'has vanished', 'ENOENT');
      const blocks = this.blocks.get(name);
      marks.set(name, blocks ? { ...mark, blocks } : mark);
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
      } catch (error) {
        // The error that led to the abort may prevent the removal as well. Without an inventory nobody takes it for a
        // set.
        const code = errnoNameOf(error);
        if (code !== 'ENOENT') logWarn('image-set.ts', `${this.dir}/${name} stays behind: ${code ?? String(error)}`);
      }
    }
    this.written.clear();
  }

  /** Runs before the first write. It removes the inventory, so from then on the folder is no finished dump. */
  private begin(): void {
    if (this.stale) return;
    try {
      this.stale = new Set(this.disk.namesIn(this.dir));
    } catch (error) {
      if (errnoNameOf(error) !== 'ENOENT') throw ioError(this.dir, 'cannot be read', error);
      this.disk.makeDirectory(this.dir);
      this.stale = new Set();
    }
    this.remove(imageName(Images.inventory));
  }

  /** Removes a file of this name that an earlier dump or this writer left. */
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
    unlink(disk, path); // an incomplete file is worse than none
    throw error;
  }
}

/** Opens a file for writing. With FRESH it must not exist yet, so that no symbolic link is followed. */
function openFile(disk: Disk, path: string, flags: number, what: 'created' | 'opened'): number {
  try {
    return disk.open(path, flags, holdsContents(path.slice(path.lastIndexOf('/') + 1)) ? 0o600 : 0o644);
  } catch (error) {
    throw ioError(path, `cannot be ${what}`, error);
  }
}

/** The mark of a file as it is now; undefined if there is none. */
function lookAt(disk: Disk, dir: string, name: string): Mark | undefined {
  try {
    return markOfFile(disk, dir, name);
  } catch (error) {
    throw error instanceof StasisError ? error : ioError(`${dir}/${name}`, 'cannot be read', error);
  }
}

/** Writes all of `bytes`, repeating short writes, and closes `fd`. */
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

function ioError(path: string, what: string, cause: unknown): StasisError {
  const code = errnoNameOf(cause);
  const remedy = code === 'ENOSPC' || code === 'EDQUOT' ? 'make room on the file system of the images' : undefined;
  return new StasisError({ kind: 'io', resource: path, reason: `${what}: ${code ?? String(cause)}`, remedy, cause });
}
