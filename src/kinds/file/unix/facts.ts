/** What the kernel tells of the unix sockets of a tree and of those that these have to do with. */
import type { SeenTree } from '../../../contract/contract.ts';
import { OUR_NAMESPACE_IDS } from '../../../images/namespace-ids.ts';
import { type UnixSocket, type UnixSockets, unixSockets, unixSocketWith } from '../../../kernel/netlink/unix-diag.ts';
import { networksOf, type SeenNetwork } from '../../../namespaces/networks.ts';

/** How many sockets are asked for one by one. For each the kernel looks through all it has; a list tells of all. */
const FEW = 16;

export class UnixFacts {
  readonly #networks: readonly SeenNetwork[];
  readonly #known = new Map<number, { readonly socket: UnixSocket; readonly network: number } | undefined>();
  /** The lists of all network namespaces, once all have been asked for. */
  #lists: readonly { readonly network: number; readonly sockets: UnixSockets }[] | undefined;

  /** `expected`: of how many sockets the tree has. */
  constructor(tree: SeenTree, expected: number) {
    const networks = networksOf(tree);
    this.#networks = networks.length > 0 ? networks : [{ id: OUR_NAMESPACE_IDS.net, within: (work) => work() }];
    if (expected > FEW) this.#list();
  }

  /** The kernel's information about a socket; undefined if it is in a network namespace that is not carried. */
  socket(ino: number): UnixSocket | undefined {
    return ino === 0 ? undefined : this.#find(ino)?.socket;
  }

  /** The ID of the network namespace of a socket that the kernel has told of. */
  networkOf(ino: number): number {
    return this.#find(ino)?.network ?? this.#networks[0]?.id ?? OUR_NAMESPACE_IDS.net;
  }

  /** All sockets of all network namespaces of the tree. */
  *all(): Iterable<UnixSocket> {
    for (const { sockets } of this.#list()) yield* sockets.values();
  }

  /** As {@link all}, those that listen. */
  *listening(): Iterable<UnixSocket> {
    for (const { within } of this.#networks) yield* within(() => unixSockets('listening')).values();
  }

  #find(ino: number): { readonly socket: UnixSocket; readonly network: number } | undefined {
    if (!this.#known.has(ino)) this.#known.set(ino, this.#look(ino));
    return this.#known.get(ino);
  }

  #look(ino: number): { readonly socket: UnixSocket; readonly network: number } | undefined {
    if (this.#lists || this.#known.size >= FEW) {
      for (const { network, sockets } of this.#list()) {
        const socket = sockets.get(ino);
        if (socket) return { socket, network };
      }
      return undefined;
    }
    for (const { id, within } of this.#networks) {
      const socket = within(() => unixSocketWith(ino));
      if (socket) return { socket, network: id };
    }
    return undefined;
  }

  #list(): readonly { readonly network: number; readonly sockets: UnixSockets }[] {
    this.#lists ??= this.#networks.map(({ id, within }) => ({ network: id, sockets: within(() => unixSockets()) }));
    return this.#lists;
  }
}
