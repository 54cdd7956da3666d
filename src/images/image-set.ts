/** Reads a folder of images, after a comparison with the manifest of whoever wrote it. */

import { type Disk, type FilePlace, nodeDisk } from './disk.ts';
import { ImageError } from './error.ts';
import { type Entry, readEntries, readHeaded, readImage } from './image.ts';
import { lookAt, readFile } from './image-files.ts';
import { type HeadedKind, type ImageKind, imageName, type RawKind } from './kind.ts';
import { Images } from './kinds.ts';
import {
  type Block,
  compare,
  isOfAnotherDump,
  isPages,
  MANIFEST,
  type Mark,
  markOf,
  readManifest,
} from './manifest.ts';
import type { Message, TypeOf } from './message.ts';
import { type PageMap, readPagemap } from './pagemap.ts';
import type { InventoryEntry } from './schema/tree.ts';
import type { UnknownFieldReporter } from './wire.ts';

/** What distinguishes the images of one kind: a PID, an ID or a name. */
export type ImageId = number | bigint | string;

/**
 * Files of up to this many bytes are kept in memory after the comparison with the manifest, so that they are read once.
 */
const KEPT = 1024 * 1024;

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
  /** The names in the manifest, if that is of this dump. */
  private listed: readonly string[] | undefined;
  private knownInventory: InventoryEntry | undefined;
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
    return this.pathOf(imageName(kind, id));
  }

  /** A path by which a file of the set can be opened, whether it exists or not. */
  pathOf(name: string): string {
    const path = `${this.dir}/${name}`;
    return this.disk.openable?.(path) ?? path;
  }

  /** Where the content of a file of the set is, whether it exists or not. */
  place(name: string): FilePlace {
    const path = `${this.dir}/${name}`;
    return this.disk.place?.(path) ?? { path, offset: 0 };
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
    this.knownInventory ??= this.readOne(Images.inventory, undefined, missing);
    return this.knownInventory;
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
    this.listed = [...manifest.files.keys()];
    return 'whole';
  }

  /**
   * The names of the files that the dump has written, without those that a page server has; of sets without a manifest
   * all in the folder, among which may be images of earlier dumps into it.
   */
  names(): readonly string[] {
    this.wholeness();
    return this.listed ?? this.disk.namesIn(this.dir);
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

  /** The content of any file, whatever the manifest says of it; undefined if there is none. */
  plain(name: string): Uint8Array | undefined {
    return this.file(name);
  }

  /** The content of an image file; undefined if there is none. */
  bytes(kind: RawKind, id?: ImageId): Uint8Array | undefined {
    return this.file(imageName(kind, id));
  }

  private file(name: string): Uint8Array | undefined {
    return this.kept.get(name) ?? readFile(this.disk, `${this.dir}/${name}`, name);
  }
}
