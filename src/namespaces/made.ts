/** The namespaces that have been made again, at a restore. */
import type { MadeNamespace, NamespaceName, RestoreContext } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
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

  /** The namespace of this type that the root of the tree has made. */
  ofRoot(name: NamespaceName): MadeNamespace | undefined {
    return this.all.find(({ name: is, first }) => is === name && first.pstree.ppid === 0);
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

/** Does `work` inside the namespace with this ID in the images; for that of Stasis itself, where we are. */
export function insideMade<T>(context: RestoreContext, name: EnterableNamespace, id: number, work: () => T): T {
  const namespace = MADE_NAMESPACES.of(context).get(name, id);
  return namespace ? inside(name, namespace.fd, work) : work();
}
