/** `stasis-mounts-N.json`: what CRIU's images have no place for about the mounts of a namespace. */
import { type FormType, list, object, oneOf, optional, readJson, text, whole } from '../../images/form.ts';
import type { ImageSet } from '../../images/image-set.ts';

const note = object({
  id: whole,
  /** Of the root of the namespace: its path on the machine; empty if it has none there. */
  root: optional(text),
  /** MS_* flags that CRIU does not know. */
  flags: optional(whole),
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
