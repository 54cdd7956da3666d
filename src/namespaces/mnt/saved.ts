/** The mounts that images hold. */
import type { RestoreContext } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
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

/** The IDs of the mount namespaces that the images hold. */
const SAVED_NAMESPACES = new Slot((context: RestoreContext): readonly number[] => {
  const names = context.images.disk
    .namesIn(context.images.dir)
    .flatMap((name) => /^mountpoints-(\d+)\.img$/.exec(name)?.[1] ?? []);
  return names.map(Number).sort((a, b) => a - b);
});

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
