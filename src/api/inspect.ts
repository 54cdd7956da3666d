/** What the images of a folder hold together, as data: the process tree, its open files, its memory. */

import { PAGE_SIZE } from '../arch/page-size.ts';
import { nameOf } from '../images/display.ts';
import { ImageSet, type Wholeness } from '../images/image-set.ts';
import { PageFlags } from '../images/pagemap.ts';
import { fileTypeName, SavedTree } from '../images/saved-tree.ts';
import type { FileEntry } from '../images/schema/files.ts';
import { TaskState } from '../images/schema/task.ts';
import { disk } from '../kernel/disk.ts';

/** Where to look. */
export interface InspectOptions {
  /** The folder of images (the current directory). */
  readonly imagesDir?: string;
}

/** A folder of images. */
export interface ImagesReport {
  /** Whether the files are what the dump wrote; `untold`: another program wrote them, without a manifest. */
  readonly wholeness: Wholeness;
  /** The processes, parents before their children as a rule; the first is the root. */
  readonly tasks: readonly TaskReport[];
}

/** A process. */
export interface TaskReport {
  readonly pid: number;
  /** The parent's PID; 0 for the root. */
  readonly ppid: number;
  readonly pgid: number;
  readonly sid: number;
  /** The name, as /proc/PID/comm has it. */
  readonly comm: string;
  /** `alive`, `dead` (a zombie), `stopped`, or the number of another state. */
  readonly state: string;
  /** The IDs of its threads, its own first. */
  readonly threads: readonly number[];
  /** Its executable, working directory and root directory; undefined for a zombie. */
  readonly exe: string | undefined;
  readonly cwd: string | undefined;
  readonly root: string | undefined;
  readonly files: readonly FileReport[];
  readonly memory: MemoryReport;
}

/** An open file of a process. */
export interface FileReport {
  readonly fd: number;
  /** The kind of file as CRIU names it: `REG`, `PIPE`, `UNIXSK`, … */
  readonly type: string;
  /** The path of a file that has one. */
  readonly path: string | undefined;
  /** Which open file it is: descriptors with the same number share it. */
  readonly id: number;
}

/** The memory of a process. All sizes are bytes. */
export interface MemoryReport {
  readonly mappings: number;
  /** What all mappings cover. */
  readonly mapped: number;
  /** What of it stands in these images. */
  readonly stored: number;
  /** What of it stands in the images of an earlier pre-dump. */
  readonly inParent: number;
}

/**
 * Reads what the images of a folder hold together; contents of pages are not read.
 *
 * @example
 * for (const { pid, comm, memory } of inspect({ imagesDir: 'images' }).tasks) console.log(pid, comm, memory.stored);
 *
 * @throws ImageError for images that are missing or damaged
 */
export function inspect({ imagesDir = '.' }: InspectOptions = {}): ImagesReport {
  const images = new ImageSet(imagesDir, () => {}, disk);
  const wholeness = images.wholeness();
  const tree = new SavedTree(images);
  const nameOfFile = (id: number | undefined) => (id === undefined ? undefined : pathOf(tree.file(id)));
  const tasks = tree.processes.map(({ pid, ppid, pgid, sid, threads }): TaskReport => {
    const { tc } = tree.core(pid);
    const mm = tree.memory(pid);
    const fs = tree.directories(pid);
    return {
      pid,
      ppid,
      pgid,
      sid,
      comm: tc?.comm ?? '',
      state: (nameOf(TaskState, tc?.task_state ?? 0) ?? String(tc?.task_state)).toLowerCase(),
      threads,
      exe: nameOfFile(mm?.exe_file_id),
      cwd: nameOfFile(fs?.cwd_id),
      root: nameOfFile(fs?.root_id),
      files: filesOf(tree, pid),
      memory: { ...mappingsOf(mm?.vmas ?? []), ...pagesOf(tree, pid) },
    };
  });
  return { wholeness, tasks };
}

function filesOf(tree: SavedTree, pid: number): FileReport[] {
  return tree
    .descriptors(pid)
    .map(({ fd, type, id }) => ({ fd, type: fileTypeName(type), path: pathOf(tree.file(id)), id }));
}

function pathOf(file: FileEntry | undefined): string | undefined {
  return file?.reg?.name;
}

function mappingsOf(vmas: readonly { readonly start: bigint; readonly end: bigint }[]) {
  const mapped = vmas.reduce((sum, { start, end }) => sum + Number(end - start), 0);
  return { mappings: vmas.length, mapped };
}

function pagesOf(tree: SavedTree, pid: number): { stored: number; inParent: number } {
  let stored = 0;
  let inParent = 0;
  for (const { pages, flags } of tree.pages(pid)?.runs ?? []) {
    if (flags & PageFlags.PARENT) inParent += pages * PAGE_SIZE;
    else stored += pages * PAGE_SIZE;
  }
  return { stored, inParent };
}
