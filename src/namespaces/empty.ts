/**
 * Namespaces that no process of a tree makes: those that none is in and that are carried all the same, and some of
 * those that are mounted on files. CRIU's images name namespaces only with the processes that are in them, so these are
 * in a file of our own.
 */
import { Part } from '../base/part.ts';
import { encodeText } from '../base/text.ts';
import type { DumpContext, NamespaceName, RestoreContext, SeenNamespace, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { type FormType, list, object, oneOf, optional, readJson, text, whole } from '../images/form.ts';
import type { ImageSet } from '../images/image-set.ts';
import { NAMESPACE_TYPES } from '../images/namespace-ids.ts';
import { CGROUP_ROOTS } from './cgroup/kind.ts';
import { SEEN_NAMESPACES } from './seen.ts';

const NAME = 'stasis-namespaces.json';

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

// For trees that keep such namespaces.
const EMPTY_PIDS = new Part(() => require('./pid/empty.ts') as typeof import('./pid/empty.ts'));

/** Saves which namespaces no process is to make. */
export function captureEmpty({ tree, images }: DumpContext): void {
  const { others } = SEEN_NAMESPACES.of(tree);
  const isEarly = ({ name, members, isMounted }: SeenNamespace): boolean =>
    members.length === 0 || (isMounted === true && EARLY_IF_MOUNTED.has(name));
  const empty = others.filter(isEarly);
  if (empty.length === 0) return;
  images.put(NAME, encodeText(`${JSON.stringify(empty.map((namespace) => entryOf(namespace, tree)))}\n`));
}

function entryOf(namespace: SeenNamespace, tree: SeenTree): EmptyNamespace {
  const { name, id } = namespace;
  switch (name) {
    case 'pid': {
      const parent = EMPTY_PIDS.load().parentOfEmpty(namespace, tree);
      return { name, id, ...(parent === undefined ? {} : { parent }) };
    }
    case 'cgroup':
      return {
        name,
        id,
        roots: [...CGROUP_ROOTS.of(tree, namespace)].map(([hierarchy, path]) => ({ hierarchy, path })),
      };
    default:
      return { name, id };
  }
}

const EMPTY = new Slot(({ images }: RestoreContext) => read(images));

function read(images: ImageSet): FormType<typeof form> {
  const bytes = images.own(NAME);
  return bytes ? readJson(form, bytes, NAME) : [];
}

/** Types that a process of the tree makes otherwise. Those of users and networks are made before it in any case. */
const EARLY_IF_MOUNTED: ReadonlySet<NamespaceName> = new Set(['ipc', 'uts']);

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
