/** The mounts that images hold. */
import type { RestoreContext } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { GIVEN_PLACE } from '../places.ts';
import { type Mount, mountFromEntry } from './mount.ts';
import { readNotes } from './notes.ts';

/** The mounts of the namespace with this ID in the images. */
export const SAVED_MOUNTS = new KeyedSlot((context: RestoreContext, namespace: number): readonly Mount[] => {
  const notes = readNotes(context.images, namespace);
  const isNested = namespace !== SAVED_NAMESPACES.of(context)[0];
  return context.images.read(Images.mnts, namespace).map((entry) => {
    const note = notes.get(entry.mnt_id);
    const mount = mountFromEntry(entry, note);
    // CRIU binds the roots of nested namespaces as anything else.
    return isNested && !note && mount.origin?.kind === 'root' ? { ...mount, origin: undefined } : mount;
  });
});

/**
 * The IDs of the mount namespaces of the dump. A folder may hold images of earlier dumps as well, with file systems
 * whose device numbers others have now; criu does not say which are which, but its dumps have no namespace without a
 * task.
 */
const SAVED_NAMESPACES = new Slot(({ images }: RestoreContext): readonly number[] => {
  const ids = images
    .names()
    .flatMap((name) => /^mountpoints-(\d+)\.img$/.exec(name)?.[1] ?? [])
    .map(Number);
  const ofTasks = images.wholeness() === 'whole' ? undefined : namespacesOfTasks(images);
  return ids.filter((id) => ofTasks?.has(id) ?? true).sort((a, b) => a - b);
});

function namespacesOfTasks(images: ImageSet): ReadonlySet<number> {
  const tasks = images.read(Images.pstree);
  return new Set(tasks.flatMap(({ pid }) => images.read(Images.ids, pid).flatMap(({ mnt_ns_id: id }) => id ?? [])));
}

/** The mounts of all namespaces but one. */
export function otherSavedMounts(context: RestoreContext, namespace: number): Mount[] {
  const others = SAVED_NAMESPACES.of(context).filter((id) => id !== namespace);
  return others.flatMap((id) => SAVED_MOUNTS.of(context, id));
}

/** The IDs of all mounts of the tree's own namespaces. */
const SAVED_IDS = new Slot((context: RestoreContext): ReadonlySet<number> => {
  return new Set(otherSavedMounts(context, -1).map(({ id }) => id));
});

/** Whether a file of the images is on a mount of a namespace of the tree's own, or of one that is given. */
export function isOnOwnMount(
  { mnt_id: id }: { readonly mnt_id?: number | undefined },
  context: RestoreContext,
): boolean {
  if (GIVEN_PLACE.of(context).place) return true;
  return id !== undefined && id >= 0 && SAVED_IDS.of(context).has(id);
}
