/**
 * Files whose name did not lead to them any more when they were dumped, and how they are opened all the same:
 * ghosts, links made by the dump, files of dead tasks (`remap-fpath.img`).
 */
import { StasisError } from '../base/errors.ts';
import { ImageError } from '../images/error.ts';
import { Images } from '../images/kinds.ts';
import { type RegFileEntry, type RemapFilePathEntry, RemapType } from '../images/schema/files.ts';
import type { RestoreContext } from './contract.ts';
import { openPath } from './open-path.ts';
import { openGhost } from './summon.ts';
import { linkFile, underName, unlinkFile } from './under-name.ts';

/** Images of CRIU before 1.6 know no types, but a bit in the id. */
const OLD_GHOST_BIT = 0x8000_0000;

/** The remap of each file that has one, by the file's id. */
export function remapsOf(context: RestoreContext): ReadonlyMap<number, Required<RemapFilePathEntry>> {
  return context.shared('remaps', () => {
    const entries = context.images.read(Images.remapFpath).map((entry) => {
      if (entry.remap_type !== undefined) return { ...entry, remap_type: entry.remap_type };
      const ghost = entry.remap_id >= OLD_GHOST_BIT;
      const remap_id = ghost ? entry.remap_id - OLD_GHOST_BIT : entry.remap_id;
      return { ...entry, remap_id, remap_type: ghost ? RemapType.GHOST : RemapType.LINKED };
    });
    return new Map(entries.map((entry) => [entry.orig_id, entry]));
  });
}

/** Opens a file that has a remap, with these flags; undefined if it has none. */
export function openRemapped(entry: RegFileEntry, context: RestoreContext, flags: number): number | undefined {
  const remap = remapsOf(context).get(entry.id);
  switch (remap?.remap_type) {
    case undefined:
      return undefined;
    case RemapType.GHOST:
      return openGhost(remap.remap_id, entry, flags, context, () => peersOf(remap.remap_id, context));
    case RemapType.LINKED:
      return openLinked(remap.remap_id, entry, context, flags);
    default:
      throw new StasisError({
        kind: 'unsupported',
        resource: entry.name,
        reason: 'a file of a dead task cannot be opened again yet',
      });
  }
}

/** All files that are one ghost. */
function peersOf(ghostId: number, context: RestoreContext): RegFileEntry[] {
  return [...remapsOf(context).values()]
    .filter((remap) => remap.remap_type === RemapType.GHOST && remap.remap_id === ghostId)
    .flatMap((remap) => context.files.get(remap.orig_id)?.reg ?? []);
}

/** The file lies under the name the dump gave it; for a moment it gets its old one, so that it is known by it again. */
function openLinked(linkId: number, entry: RegFileEntry, context: RestoreContext, flags: number): number {
  const link = context.files.get(linkId)?.reg;
  if (!link) {
    throw new ImageError({
      file: 'remap-fpath.img',
      reason: `file ${entry.id} is remapped to ${linkId}, which is no file`,
    });
  }
  removeAtEnd(link.name, context);
  return underName(
    entry.name,
    (path) => linkFile(link.name, path),
    unlinkFile,
    (path) => openPath(path, flags, entry.name),
  );
}

/** The link was made for this restore; it goes when nobody needs it any more, but a failed restore may be repeated. */
function removeAtEnd(path: string, context: RestoreContext): void {
  context.shared(`link ${path}`, () => {
    let failed = false;
    context.undo(() => {
      failed = true;
    });
    context.atEnd(() => {
      if (!failed) unlinkFile(path);
    });
    return true;
  });
}
