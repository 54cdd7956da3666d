/**
 * Namespaces that no process of a tree makes: those that none is in and that are carried all the same, and some of
 * those that are mounted on files. CRIU's images name namespaces only with the processes that are in them, so these are
 * in a file of our own.
 */
import type { NamespaceName, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { type FormType, list, object, oneOf, optional, readJson, text, whole } from '../images/form.ts';
import type { ImageSet } from '../images/image-set.ts';
import { NAMESPACE_TYPES } from '../images/namespace-ids.ts';

/** The file that tells of them. */
export const EMPTY_FILE = 'stasis-namespaces.json';

const form = list(
  object({
    name: oneOf(...NAMESPACE_TYPES),
    id: whole,
    /** Of a PID namespace: the ID of the one that it is inside of. */
    parent: optional(whole),
    /** Of a cgroup namespace: its roots, by the names of the hierarchies. */
    roots: optional(list(object({ hierarchy: text, path: text }))),
  }),
);

/** What is saved of a namespace that no process is in. */
export type EmptyNamespace = FormType<typeof form>[number];

const EMPTY = new Slot(({ images }: RestoreContext) => read(images));

function read(images: ImageSet): FormType<typeof form> {
  const bytes = images.own(EMPTY_FILE);
  return bytes ? readJson(form, bytes, EMPTY_FILE) : [];
}

/** The IDs of the namespaces of a type that no process of the images makes. @throws ImageError */
export function emptyNamespaces(context: RestoreContext, type: NamespaceName): readonly number[] {
  return savedEmpty(context, type).map(({ id }) => id);
}

/** As {@link emptyNamespaces}, with all that is saved of them. @throws ImageError */
export function savedEmpty(context: RestoreContext, type: NamespaceName): readonly EmptyNamespace[] {
  return EMPTY.of(context).filter(({ name }) => name === type);
}

/** As {@link emptyNamespaces}, before a restore begins. @throws ImageError */
export function emptyIn(images: ImageSet, type: NamespaceName): readonly number[] {
  return read(images).flatMap(({ name, id }) => (name === type ? [id] : []));
}

/** Whether there are such namespaces. @throws ImageError */
export function hasEmptyNamespaces(context: RestoreContext): boolean {
  return EMPTY.of(context).length > 0;
}
