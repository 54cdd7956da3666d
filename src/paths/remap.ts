/**
 * Opens files whose name did not lead to them any more at the dump (`remap-fpath.img`): ghosts, files to which the dump
 * made a link, and files of dead tasks in /proc.
 */

import type { HostPid, LocalFd } from '../base/brands.ts';
import { Part } from '../base/part.ts';
import type { RestoreContext } from '../contract/contract.ts';
import { KeyedSlot, Slot } from '../contract/slots.ts';
import { ImageError } from '../images/error.ts';
import { Images } from '../images/kinds.ts';
import { type RegFileEntry, type RemapFilePathEntry, RemapType } from '../images/schema/files.ts';
import { O } from '../kernel/constants/files.ts';
import { trySyscall } from '../kernel/syscall.ts';
import { placeOfEntry, tryPathAt, widePlaces } from '../namespaces/places.ts';
import { openGhost } from './ghost/restore.ts';
import { linkOpenFile } from './locate.ts';
import { openPath } from './open-path.ts';
import { linkFile, unlinkFile, withTemporaryName } from './temporary-name.ts';

const DEAD = new Part(() => require('./dead-task.ts') as typeof import('./dead-task.ts'));

/** Images of CRIU before 1.6 have no types; this bit in the ID means a ghost. */
const OLD_GHOST_BIT = 0x8000_0000;

/** The remaps, by the ID of the file. */
export function remapsOf(context: RestoreContext): ReadonlyMap<number, Required<RemapFilePathEntry>> {
  return REMAPS.of(context);
}

const REMAPS = new Slot((context: RestoreContext) => {
  const entries = context.images.read(Images.remapFpath).map((entry) => {
    if (entry.remap_type !== undefined) return { ...entry, remap_type: entry.remap_type };
    const ghost = entry.remap_id >= OLD_GHOST_BIT;
    const remap_id = ghost ? entry.remap_id - OLD_GHOST_BIT : entry.remap_id;
    return { ...entry, remap_id, remap_type: ghost ? RemapType.GHOST : RemapType.LINKED };
  });
  return new Map(entries.map((entry) => [entry.orig_id, entry]));
});

/** Opens a file that has a remap, with these flags; undefined if it has none. */
export function openRemapped(entry: RegFileEntry, context: RestoreContext, flags: number): LocalFd | undefined {
  const remap = remapsOf(context).get(entry.id);
  switch (remap?.remap_type) {
    case undefined:
      return deadTaskOf(entry.name, context) === undefined ? undefined : openOfDeadTask(entry, context, flags);
    case RemapType.GHOST:
      return openGhost(remap.remap_id, entry, flags, context, () => peersOf(remap.remap_id, context));
    case RemapType.LINKED:
      return openLinked(remap.remap_id, entry, context, flags);
    default:
      return openOfDeadTask(entry, context, flags);
  }
}

/** PIDs of tasks that were dead at the dump, while files of theirs in /proc were still open. */
const DEAD_TASKS = new Slot((context: RestoreContext) => {
  const remaps = [...remapsOf(context).values()].filter((remap) => remap.remap_type === RemapType.PROCFS);
  return new Set(remaps.map((remap) => remap.remap_id));
});

/** The PID of the dead task that a file of /proc belongs to. Only the first file of a dead task has a remap. */
function deadTaskOf(name: string, context: RestoreContext): number | undefined {
  const dead = DEAD_TASKS.of(context);
  if (dead.size === 0) return undefined;
  const pid = Number(/^\/proc\/(\d+)(?:\/|$)/.exec(name)?.[1]);
  return dead.has(pid) ? pid : undefined;
}

/**
 * Opens a file of a dead task. A helper process has the PID until the restore is over, since the kernel does not even
 * allow a change to the directory of a dead task.
 */
function openOfDeadTask(entry: RegFileEntry, context: RestoreContext, flags: number): LocalFd {
  const pid = deadTaskOf(entry.name, context);
  if (pid === undefined)
    throw new ImageError({ file: 'remap-fpath.img', reason: `${entry.name} is no file of a task` });
  DEAD.load().standIn(pid, context);
  return openPath(entry.name, flags, entry.name, placeOfEntry(entry, context));
}

/** Lets a task go into a directory of a dead task, if the file with this ID is one. */
export function letIn(fileId: number, task: HostPid, context: RestoreContext): void {
  const entry = context.fileEntries.get(fileId)?.reg;
  const pid = entry && deadTaskOf(entry.name, context);
  if (pid !== undefined) DEAD.load().admit(pid, task, context);
}

/** The entries of files.img that refer to a ghost. */
function peersOf(ghostId: number, context: RestoreContext): RegFileEntry[] {
  return [...remapsOf(context).values()]
    .filter((remap) => remap.remap_type === RemapType.GHOST && remap.remap_id === ghostId)
    .flatMap((remap) => context.fileEntries.get(remap.orig_id)?.reg ?? []);
}

/**
 * Opens a file to which the dump made a link. The file gets its old name for that moment, so that the kernel shows this
 * name for the open file.
 */
function openLinked(linkId: number, entry: RegFileEntry, context: RestoreContext, flags: number): LocalFd {
  const link = context.fileEntries.get(linkId)?.reg;
  if (!link) {
    throw new ImageError({
      file: 'remap-fpath.img',
      reason: `file ${entry.id} is remapped to ${linkId}, which is no file`,
    });
  }
  REMOVED_AT_END.of(context, link);
  const [there, place] = [placeOfEntry(link, context), placeOfEntry(entry, context)];
  const wide = place?.isReadOnly ? widePlaces(there, place) : undefined;
  return withTemporaryName(
    entry.name,
    (path) => tryPathAt(wide?.[0] ?? there, link.name, (from) => linkFile(from, path)),
    unlinkFile,
    (path) => {
      if (!wide) return openPath(path, flags, entry.name);
      const name = entry.name.slice(0, entry.name.lastIndexOf('/')) + path.slice(path.lastIndexOf('/'));
      return openPath(name, flags, entry.name, place);
    },
    wide?.[1] ?? place,
  );
}

/**
 * Removes a link that the dump made, at the end of the restore. A failed restore may be repeated, so it makes the link
 * again.
 */
const REMOVED_AT_END = new KeyedSlot((context: RestoreContext, link: RegFileEntry) => {
  const { name } = link;
  const place = placeOfEntry(link, context);
  const local = openPath(name, O.PATH | O.NOFOLLOW, name, place);
  context.undo(() => {
    linkOpenFile(local, name, place);
    trySyscall('close', local);
  });
  context.atEnd(() => unlinkFile(name, place));
});
