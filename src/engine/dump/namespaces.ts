/** The namespaces of a tree at a dump: what is in the way, and what is in them. */
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { NoticeFacts } from '../../base/notice.ts';
import { Part } from '../../base/part.ts';
import type {
  DumpContext,
  NamespaceKind,
  OpenFile,
  SeenNamespace,
  SeenTask,
  SeenTree,
} from '../../contract/contract.ts';
import { NAMESPACE_TYPES } from '../../images/namespace-ids.ts';
import { atHome, type NetworkStay, openNamespace } from '../../namespaces/inside.ts';
import { networkOf, networksOf } from '../../namespaces/networks.ts';
import { childrenObstacle } from '../../namespaces/pid/children.ts';
import { namespaceKinds } from '../../namespaces/registry.ts';
import { isElsewhere, SEEN_NAMESPACES } from '../../namespaces/seen.ts';
import { fileObstacle } from '../../support/fdinfo.ts';

// For trees in namespaces of their own.
const EMPTY = new Part(
  () => require('../../namespaces/save-empty.ts') as typeof import('../../namespaces/save-empty.ts'),
);

/**
 * Enters the network namespace of the tree's root, if it is not ours: nearly all sockets of a tree are of that one. So
 * what is asked about sockets concerns it; for those of others namespaces/networks.ts enters these for a moment.
 */
export function enterNetworkOf(root: HostPid, stay: NetworkStay): void {
  if (!isElsewhere(root, 'net')) return;
  using fd = openNamespace(root, 'net');
  stay.enter(fd.number);
}

/** The obstacle that a socket is of a network namespace that is not carried. */
export function foreignSocket(file: OpenFile, task: SeenTask): StasisError | undefined {
  if (file.socketDomain() === undefined || networkOf(file, task.tree)) return undefined;
  const reason =
    'its network namespace is not the tree’s alone: a file of the machine or processes outside of the tree keep it';
  return fileObstacle(file, 'SOCKET_OTHER_NAMESPACE', reason, 'have the program close it before the dump');
}

/** A namespace of the tree's own and its kind. */
interface CarriedNamespace {
  readonly namespace: SeenNamespace;
  readonly kind: NamespaceKind;
}

/** The namespaces of the tree that are not ours, as far as there is a kind for them; in the order of the kinds. */
function carriedNamespaces(tree: SeenTree): CarriedNamespace[] {
  const { others } = SEEN_NAMESPACES.of(tree);
  if (others.length === 0) return [];
  return namespaceKinds.flatMap((kind) =>
    others.filter(({ name }) => name === kind.name).map((namespace) => ({ namespace, kind })),
  );
}

/** Everything in the namespaces of the tree that cannot be carried. */
export function namespaceObstacles(tree: SeenTree): StasisError[] {
  networksOf(tree); // finds those that only sockets are of
  return carriedNamespaces(tree).flatMap(({ namespace, kind }) =>
    atHome(() => kind.obstacles?.(namespace, tree) ?? []),
  );
}

/** What is carried of the namespaces of the tree, but not as it is. */
export function namespaceNotices(tree: SeenTree): NoticeFacts[] {
  return carriedNamespaces(tree).flatMap(({ namespace, kind }) => atHome(() => kind.notices?.(namespace, tree) ?? []));
}

/** Saves what is in the namespaces of the tree. */
export function captureNamespaces(context: DumpContext): void {
  const { tree } = context;
  for (const { namespace, kind } of carriedNamespaces(tree)) atHome(() => kind.capture?.(namespace, context));
  if (SEEN_NAMESPACES.of(tree).others.length > 0) EMPTY.load().captureEmpty(context);
}

/**
 * Obstacles for the namespaces of a task that no kind carries. Those of time are carried by the kind `clocks`, which
 * makes one for a tree that had none of its own as well.
 */
export function foreignNamespaces(task: SeenTask): StasisError[] {
  const table = SEEN_NAMESPACES.of(task.tree);
  const own = NAMESPACE_TYPES.flatMap((name) => {
    const namespace = table.of(task.pid, name);
    const isCarried = name === 'time' || namespaceKinds.some((kind) => kind.name === name);
    return !namespace || namespace.ours || isCarried ? [] : [namespace];
  });
  const unknown = own.map(
    ({ name, ino }) =>
      new StasisError({
        kind: 'unsupported',
        code: 'NAMESPACE_OWN',
        task: task.ref,
        resource: `${name} namespace ${ino}`,
        reason: 'tasks in namespaces of their own are not carried yet',
        remedy: `dump the tree while none of its processes is in a ${name} namespace of its own`,
        object: { type: `${name} namespace`, inode: ino },
      }),
  );
  return [...unknown, ...[childrenObstacle(task) ?? []].flat()];
}
