/** The namespaces that have been made again, at a restore. */
import type { MadeNamespace, NamespaceName, RestoreContext } from '../contract/contract.ts';
import { KeyedSlot, Slot } from '../contract/slots.ts';
import { Images } from '../images/kinds.ts';
import { type NamespaceIds, namespaceIdsOf, OUR_NAMESPACE_IDS } from '../images/namespace-ids.ts';
import { trySyscall } from '../kernel/syscall.ts';
import { type EnterableNamespace, inside } from './inside.ts';

class MadeNamespaces {
  readonly #made = new Map<string, MadeNamespace>();

  /** In the order they were made. */
  get all(): readonly MadeNamespace[] {
    return [...this.#made.values()];
  }

  /** The namespace with this ID in the images; undefined for one that is not made again: it is that of Stasis. */
  get(name: NamespaceName, id: number): MadeNamespace | undefined {
    return this.#made.get(`${name} ${id}`);
  }

  /** The PID namespace that the root of the tree has made or was given. */
  pidsOfRoot(): MadeNamespace | undefined {
    return this.all.find(({ name, first, isGiven }) => name === 'pid' && (isGiven || first?.pstree.ppid === 0));
  }

  /** Adds a namespace. Its descriptor is closed at the end of the restore. */
  add(namespace: MadeNamespace): void {
    this.#made.set(`${namespace.name} ${namespace.id}`, namespace);
  }
}

/** The namespaces made so far. */
export const MADE_NAMESPACES = new Slot((context: RestoreContext) => {
  const made = new MadeNamespaces();
  context.atEnd(() => {
    for (const { fd } of made.all) trySyscall('close', fd);
  });
  return made;
});

/** The IDs of the namespaces that a process of the tree was in. */
export const SAVED_IDS = new KeyedSlot(({ images }: RestoreContext, pid: number): NamespaceIds => {
  const { root_ids } = images.inventory();
  const [entry] = images.read(Images.ids, pid);
  // Without the IDs of the process that dumped nothing tells which namespaces are not its own.
  return root_ids && entry ? namespaceIdsOf(entry, namespaceIdsOf(root_ids, undefined)) : OUR_NAMESPACE_IDS;
});

/** Whether a namespace was that of the process that dumped, so that it is not made again. */
export function wasOurs({ images }: RestoreContext, name: NamespaceName, id: number): boolean {
  return namespaceIdsOf(images.inventory().root_ids ?? {}, undefined)[name] === id;
}

/** Does `work` inside the namespace with this ID in the images; for that of Stasis itself, where we are. */
export function insideMade<T>(context: RestoreContext, name: EnterableNamespace, id: number, work: () => T): T {
  const namespace = MADE_NAMESPACES.of(context).get(name, id);
  return namespace ? inside(name, namespace.fd, work) : work();
}
