/** Writes a folder of images, such that a set that was written only in part can never be restored. */

import { errnoNameOf } from '../base/errors.ts';
import { logWarn } from '../base/log.ts';
import { Part } from '../base/part.ts';
import { type Disk, nodeDisk } from './disk.ts';
import { type Entry, writeEntries, writeHeaded, writeImage } from './image.ts';
import { APPENDING, FRESH, ioError, lookAt, openFile, unlink, writeAll } from './image-files.ts';
import type { ImageId } from './image-set.ts';
import { type HeadedKind, type ImageKind, imageName } from './kind.ts';
import { Images } from './kinds.ts';
import { type Block, MANIFEST, type Mark, manifestBytes, markOf } from './manifest.ts';
import type { InputOf, Message } from './message.ts';
import { type PageMap, writePagemap } from './pagemap.ts';
import type { inventoryEntry } from './schema/tree.ts';

// Only where there are files of an earlier dump.
const LEFT = new Part(() => require('./left-images.ts') as typeof import('./left-images.ts'));

/** The name of the link in a set to that of the previous dump, which holds the pages that have not changed since. */
export const PARENT = 'parent';

/**
 * Writes a folder of images. The inventory, which every restore needs, is removed before the first file is written and
 * written after all others. Just before it comes the manifest, which lists the sizes and checksums of the other files.
 *
 * Hold it with `using`: unless {@link commit} was reached, everything written is removed
 * again at the end of the scope.
 */
export class ImageSetWriter implements Disposable {
  readonly dir: string;
  private readonly disk: Disk;
  /** Size and checksum of each file written; undefined for files that the caller fills. */
  private readonly written = new Map<string, Mark | undefined>();
  private readonly links: string[] = [];
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
    if (this.disk.put) {
      this.remove(name);
      this.disk.put(`${this.dir}/${name}`, bytes, false);
    } else writeAll(this.disk, this.create(name), `${this.dir}/${name}`, bytes);
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
    if (this.disk.put) this.disk.put(path, bytes, true);
    else writeAll(this.disk, openFile(this.disk, path, APPENDING, 'opened'), path, bytes);
  }

  /** Creates a file of the set and returns its descriptor. The caller writes it (page data) and closes it. */
  create(name: string): number {
    this.remove(name);
    const fd = openFile(this.disk, `${this.dir}/${name}`, FRESH, 'created');
    this.written.set(name, undefined);
    return fd;
  }

  /** Makes the set one of a chain: names the set of the previous dump, relative to this one. */
  linkParent(target: string): void {
    this.remove(PARENT);
    try {
      this.disk.link(target, `${this.dir}/${PARENT}`);
    } catch (error) {
      throw ioError(`${this.dir}/${PARENT}`, 'cannot be made', error);
    }
    this.links.push(PARENT);
  }

  /** Removes a file that an earlier dump may have left, and that is not to be taken for one of this. */
  drop(name: string): void {
    this.remove(name);
  }

  /** Notes a file of the set that somebody else has written. */
  note(name: string, mark: Mark): void {
    this.written.set(name, mark);
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
    // What an earlier dump has left under names that this one did not need would be taken for part of it.
    for (const name of [...(this.stale ?? [])]) {
      if (name.startsWith('stasis-') || LEFT.load().isLeftImage(name)) this.remove(name);
    }
    const name = imageName(Images.inventory);
    const bytes = writeImage(Images.inventory, [inventory], name);
    const files = this.marks().set(name, markOf(bytes));
    this.put(MANIFEST, manifestBytes({ run: inventory.dump_criu_run_id ?? '', files }));
    this.put(name, bytes);
    this.committed = true;
  }

  /** Keeps what was written, although somebody else completes the set: the dump whose pages these are. */
  keep(): void {
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
    for (const name of [...this.links, ...this.written.keys()]) {
      try {
        this.disk.unlink(`${this.dir}/${name}`);
      } catch (error) {
        // The error that led to the abort may prevent the removal as well. Without an inventory nobody takes it for a
        // set.
        const code = errnoNameOf(error);
        if (code !== 'ENOENT')
          logWarn('image-set-writer.ts', `${this.dir}/${name} stays behind: ${code ?? String(error)}`);
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
