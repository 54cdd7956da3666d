/** What the images of a folder hold together: the processes of a tree, each with its files and its memory. */

import { nameOf } from './display.ts';
import { ImageError } from './error.ts';
import type { ImageSet } from './image-set.ts';
import { Images } from './kinds.ts';
import type { PageMap } from './pagemap.ts';

import { type FdinfoEntry, FdTypes, type FileEntry, type FsEntry } from './schema/files.ts';
import type { MmEntry } from './schema/memory.ts';
import type { CoreEntry } from './schema/task.ts';
import type { PstreeEntry } from './schema/tree.ts';

/** Reads images as they are asked for. All methods throw ImageError for images that are damaged. */
export class SavedTree {
  /** The processes, parents before their children as a rule; the first is the root. */
  readonly processes: readonly PstreeEntry[];
  readonly #images: ImageSet;
  #files: ReadonlyMap<number, FileEntry> | undefined;

  /** @throws ImageError if the image of the tree is missing or empty */
  constructor(images: ImageSet) {
    this.#images = images;
    this.processes = images.read(Images.pstree);
    if (this.processes.length > 0) return;
    throw new ImageError({ file: images.path(Images.pstree), reason: 'image is missing' });
  }

  core(pid: number): CoreEntry {
    return this.#images.readOne(Images.core, pid);
  }

  /** The memory of a process; undefined for a zombie. */
  memory(pid: number): MmEntry | undefined {
    return this.#images.read(Images.mm, pid)[0];
  }

  /** The stored pages of a process; undefined for a zombie. */
  pages(pid: number): PageMap | undefined {
    return this.#images.readPagemap(Images.pagemap, pid);
  }

  /** The working directory and the root; undefined for a zombie. */
  directories(pid: number): FsEntry | undefined {
    return this.#images.read(Images.fs, pid)[0];
  }

  /** The descriptors of a process; none for a zombie. */
  descriptors(pid: number): FdinfoEntry[] {
    const [ids] = this.#images.read(Images.ids, pid);
    return ids ? this.#images.read(Images.fdinfo, ids.files_id) : [];
  }

  /** An open file by its ID; undefined if the images have none. */
  file(id: number): FileEntry | undefined {
    this.#files ??= new Map(this.#images.read(Images.files).map((file) => [file.id, file]));
    return this.#files.get(id);
  }
}

/** The name that CRIU has for a kind of file: `REG`, `PIPE`, …; the number of one that has none. */
export function fileTypeName(type: number): string {
  return nameOf(FdTypes, type) ?? String(type);
}
