/** `stasis-mounts-N.json`: what CRIU's images have no place for about the mounts of a namespace. */
import { type FormType, flag, list, object, oneOf, optional, readJson, text, whole } from '../../images/form.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { NAMESPACE_TYPES } from '../../images/namespace-ids.ts';

const ranges = list(object({ inside: whole, outside: whole, count: whole }));

const note = object({
  id: whole,
  /** Of the root of the namespace: its path on the machine; empty if it has none there. */
  root: optional(text),
  /** MS_* flags that CRIU does not know. */
  flags: optional(whole),
  /** Nobody may unmount it in the user namespace of its mount namespace (MNT_LOCKED). */
  locked: optional(flag),
  /** The owners that it shows in place of those of its file system. */
  idMap: optional(object({ uids: ranges, gids: ranges })),
  /** The namespace that it is a mount of. */
  namespace: optional(object({ name: oneOf(...NAMESPACE_TYPES), id: whole })),
  outside: optional(object({ as: oneOf('peer', 'slave'), path: text })),
});

/** A note on one mount. */
export type MountNote = FormType<typeof note>;

const form = list(note);

/** The name of the file, by the ID of the namespace. */
export const notesName = (namespace: number): string => `stasis-mounts-${namespace}.json`;

/** Reads the notes on the mounts of a namespace; none if there is no file. @throws ImageError */
export function readNotes(images: ImageSet, namespace: number): ReadonlyMap<number, MountNote> {
  const name = notesName(namespace);
  const bytes = images.own(name);
  const notes = bytes ? readJson(form, bytes, name) : [];
  return new Map(notes.map((found) => [found.id, found]));
}
