/**
 * Namespaces that exist before the processes of a tree: those that none is in and that are carried all the same, and
 * those that are mounted on files. CRIU's images name namespaces only with the processes that are in them, so these are
 * in a file of our own.
 */
import { encodeText } from '../base/text.ts';
import type { DumpContext, NamespaceName, RestoreContext, SeenNamespace } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { type FormType, list, object, oneOf, readJson, whole } from '../images/form.ts';
import type { ImageSet } from '../images/image-set.ts';
import { NAMESPACE_TYPES } from '../images/namespace-ids.ts';
import { SEEN_NAMESPACES } from './seen.ts';

const NAME = 'stasis-namespaces.json';

const form = list(object({ name: oneOf(...NAMESPACE_TYPES), id: whole }));

/** Saves which namespaces are to exist before the processes. */
export function captureEmpty({ tree, images }: DumpContext): void {
  const { others } = SEEN_NAMESPACES.of(tree);
  const isEarly = ({ name, members, isMounted }: SeenNamespace): boolean =>
    members.length === 0 || (isMounted === true && EARLY_IF_MOUNTED.has(name));
  const empty = others.filter(isEarly);
  if (empty.length === 0) return;
  images.put(NAME, encodeText(`${JSON.stringify(empty.map(({ name, id }) => ({ name, id })))}\n`));
}

const EMPTY = new Slot(({ images }: RestoreContext) => read(images));

function read(images: ImageSet): FormType<typeof form> {
  const bytes = images.own(NAME);
  return bytes ? readJson(form, bytes, NAME) : [];
}

/** Types that a process of the tree makes otherwise. Those of users and networks are made before it in any case. */
const EARLY_IF_MOUNTED: ReadonlySet<NamespaceName> = new Set(['ipc', 'uts']);

/** The IDs of the namespaces of a type that are to exist before the processes of the images. @throws ImageError */
export function emptyNamespaces(context: RestoreContext, type: NamespaceName): readonly number[] {
  return EMPTY.of(context).flatMap(({ name, id }) => (name === type ? [id] : []));
}

/** As {@link emptyNamespaces}, before a restore begins. @throws ImageError */
export function emptyIn(images: ImageSet, type: NamespaceName): readonly number[] {
  return read(images).flatMap(({ name, id }) => (name === type ? [id] : []));
}

/** Whether there are such namespaces. @throws ImageError */
export function hasEmptyNamespaces(context: RestoreContext): boolean {
  return EMPTY.of(context).length > 0;
}
