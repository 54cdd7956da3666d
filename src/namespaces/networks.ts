/**
 * The network namespaces that the sockets of a tree belong to. A socket stays in the one it was made in, whatever its
 * process does later, and the kernel lists and makes sockets in the one that the caller is in.
 */
import { Part } from '../base/part.ts';
import type { OpenFile, RestoreContext, SeenNamespace, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { OUR_NAMESPACE_IDS } from '../images/namespace-ids.ts';
import { SIOCGSKNS, SO } from '../kernel/constants/sockets.ts';
import { getOptionIfAny } from '../kernel/sockets.ts';
import { statusOf } from '../kernel/statx.ts';
import { Fd, syscall, trySyscall } from '../kernel/syscall.ts';
import { atHome, inside, insideSeen, openNamespace } from './inside.ts';
import { MADE_NAMESPACES, SAVED_IDS, wasOurs } from './made.ts';
import { ownInode, SEEN_NAMESPACES } from './seen.ts';

/** A network namespace at a dump. */
export interface SeenNetwork {
  /** Its ID in the images. */
  readonly id: number;
  /** Does `work` inside of it. */
  within<T>(work: () => T): T;
}

class SeenNetworks {
  /** That of the root of the tree comes first; Stasis is in it. */
  readonly all: readonly SeenNetwork[];
  readonly #byInode = new Map<number, SeenNetwork>();
  /** Inodes by the cookie that the kernel has for a namespace: one option tells it, an inode takes three calls. */
  readonly #byCookie = new Map<bigint, number | undefined>();
  /** By the inode of a socket, which every door asks about. */
  readonly #bySocket = new Map<number, number | undefined>();

  constructor(tree: SeenTree) {
    const table = SEEN_NAMESPACES.of(tree);
    const home = { id: OUR_NAMESPACE_IDS.net, ino: ownInode('net'), within: atHome };
    const rootId = table.idsOf(tree.root.pid).net;
    const enter = (network: SeenNetwork & { readonly ino: number }): void => {
      const isRoots = network.id === rootId;
      this.#byInode.set(network.ino, isRoots ? { ...network, within: (work) => work() } : network);
    };
    const networkAt = (namespace: SeenNamespace): SeenNetwork & { readonly ino: number } => ({
      id: namespace.id,
      ino: namespace.ino,
      within: (work) => insideSeen('net', namespace, work),
    });
    enter(home);
    for (const namespace of table.others) if (namespace.name === 'net') enter(networkAt(namespace));
    for (const file of tree.tasks.flatMap(({ fds }) => fds)) {
      const ino = file.socketDomain() === undefined ? undefined : this.#inodeOf(file);
      if (ino === undefined || this.#byInode.has(ino) || !HELD.load().isCarried(tree, { name: 'net', ino })) continue;
      const open = (): Fd => new Fd(syscall('ioctl', file.local, SIOCGSKNS, 0));
      enter(networkAt(table.keep(tree, { name: 'net', ino, members: [], open })));
    }
    this.all = [...this.#byInode.values()].sort((a, b) => +(b.id === rootId) - +(a.id === rootId));
  }

  /** The network namespace of a socket, or of a tun device; undefined if it is not carried. */
  of(file: OpenFile): SeenNetwork | undefined {
    const ino = this.#inodeOf(file);
    return ino === undefined ? this.all[0] : this.#byInode.get(ino);
  }

  /** Undefined where nobody may ask. */
  #inodeOf(file: OpenFile): number | undefined {
    const { local, stat } = file;
    // All descriptors of a device have the inode of its file, whatever namespace they are of.
    if (file.socketDomain() === undefined) return ask(local);
    if (!this.#bySocket.has(stat.ino)) this.#bySocket.set(stat.ino, this.#find(local));
    return this.#bySocket.get(stat.ino);
  }

  #find(local: OpenFile['local']): number | undefined {
    const cookie = getOptionIfAny(local, SO.NETNS_COOKIE, 8);
    if (!cookie) return ask(local); // kernels before 5.14
    const key = new DataView(cookie.buffer, cookie.byteOffset).getBigUint64(0, true);
    if (!this.#byCookie.has(key)) this.#byCookie.set(key, ask(local));
    return this.#byCookie.get(key);
  }
}

/**
 * Asks a socket for the inode of its network namespace. Without CAP_NET_ADMIN in it nobody may; then nothing else can
 * be entered either.
 */
function ask(local: OpenFile['local']): number | undefined {
  const net = trySyscall('ioctl', local, SIOCGSKNS, 0);
  if (net < 0) return undefined;
  using opened = new Fd(net);
  return statusOf(opened.number).ino;
}

// For trees with sockets of namespaces that none of their processes is in.
const HELD = new Part(() => require('./held.ts') as typeof import('./held.ts'));

const NETWORKS = new Slot((tree: SeenTree) => new SeenNetworks(tree));

/** The network namespaces that sockets of a tree may be of; that of the root first. */
export function networksOf(tree: SeenTree): readonly SeenNetwork[] {
  return NETWORKS.of(tree).all;
}

/** The network namespace of a socket, or of a tun device; undefined if no process of the tree is in it, nor Stasis. */
export function networkOf(file: OpenFile, tree: SeenTree): SeenNetwork | undefined {
  return NETWORKS.of(tree).of(file);
}

/** The ID that images have for the network namespace of a socket. */
export function networkIdOf(file: OpenFile, tree: SeenTree): number {
  return (networkOf(file, tree) ?? networksOf(tree)[0])?.id ?? OUR_NAMESPACE_IDS.net;
}

/** Does `work` in the network namespace of an open file, if it is a socket of another one than the root's. */
export function inNetworkOf<T>(file: OpenFile, tree: SeenTree, work: () => T): T {
  if (file.socketDomain() === undefined) return work();
  return networkOf(file, tree)?.within(work) ?? work();
}

/** What `look` finds in all network namespaces of a tree, by inodes, which no two sockets of the machine share. */
export function fromAllNetworks<T>(
  tree: SeenTree,
  look: () => ReadonlyMap<number, T> | undefined,
): ReadonlyMap<number, T> {
  const [first, ...others] = networksOf(tree);
  const found = (first ? first.within(look) : look()) ?? new Map<number, T>();
  if (others.length === 0) return found;
  return new Map([...found, ...others.flatMap((network) => [...(network.within(look) ?? [])])]);
}

/**
 * Does `work` in the network namespace that has this ID in the images, at a restore; where the entry of a socket has
 * none (old images), in that of the root.
 */
export function inSavedNetwork<T>(context: RestoreContext, id: number | undefined, work: () => T): T {
  if (!id || id === SAVED_IDS.of(context, context.root).net) return work(); // Stasis is in it
  const made = MADE_NAMESPACES.of(context).get('net', id);
  return made ? inside('net', made.fd, work) : atHome(work);
}

/** Whether a network namespace exists before the restore: it is that of Stasis, or is given. */
export function isNetworkThere(context: RestoreContext, id: number | undefined): boolean {
  const network = id || SAVED_IDS.of(context, context.root).net;
  const made = MADE_NAMESPACES.of(context).get('net', network);
  return made ? made.isGiven === true : wasOurs(context, 'net', network);
}

/** A descriptor of the network namespace that has this ID in the images, at a restore. The caller owns it. */
export function openSavedNetwork(context: RestoreContext, id: number | undefined): Fd {
  return inSavedNetwork(context, id, () => openNamespace('self', 'net'));
}
