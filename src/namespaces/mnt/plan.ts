/**
 * Plans how the mounts of a namespace are made again. Pure.
 *
 * Each file system has a *base*: a mount of it that is wide enough for all others to be copied from it. Every mount of
 * the namespace is such a copy with a narrower root. Peer groups are made when all mounts are in their places, so that
 * nothing propagates before.
 */
import { type Mount, type Origin, relativePath } from './mount.ts';

/** Where the copies of a file system come from. */
export interface Base {
  /** Unique in the restore. */
  readonly key: string;
  readonly dev: number;
  /** The path inside the file system that is its root. */
  readonly root: string;
  /** The mount it is described by. */
  readonly mount: Mount;
  /** Where it comes from; undefined for a file system that is mounted again. */
  readonly origin: Origin | undefined;
}

/** How a mount is made and attached. */
export interface MountStep {
  readonly mount: Mount;
  /** Its place in the list of mounts. */
  readonly index: number;
  readonly base: Base;
  /** The path of its root below that of the base. */
  readonly below: string;
  /** The mount that it is attached to, and the path below that; undefined for the root of the namespace. */
  readonly on: { readonly parent: number; readonly at: string } | undefined;
}

/** A peer group. */
export interface Group {
  readonly id: number;
  /** The group that it is a slave of. */
  readonly master: number;
  /** Where it begins: with a copy of a base, or as the group of a mount of the machine, at this path. */
  readonly from: { readonly base: Base } | { readonly path: string };
}

/** How the mounts of one namespace are made again. */
export interface MountPlan {
  /** In the order in which the mounts are attached. */
  readonly steps: readonly MountStep[];
  /** The groups that its mounts are in or are slaves of; masters stand before their slaves. */
  readonly groups: readonly Group[];
}

/** Why the mounts of a namespace cannot be made again. */
export interface PlanFault {
  readonly mount: Mount;
  readonly reason: 'orphan' | 'uncovered' | 'no root';
}

/**
 * Plans one namespace. `others` are the mounts of the other namespaces of the tree, which may be in the same groups.
 * `isRemade` tells whether a file system can be mounted again.
 */
export function planMounts(
  mounts: readonly Mount[],
  others: readonly Mount[],
  isRemade: (mount: Mount) => boolean,
): MountPlan | PlanFault[] {
  const faults: PlanFault[] = [];
  const bases = new Bases([...mounts, ...others], isRemade);
  const steps: MountStep[] = [];
  const [root, ...ordered] = attachingOrder(mounts);
  if (!root) {
    const [mount] = mounts;
    return mount ? [{ mount, reason: 'no root' }] : [];
  }
  for (const { mount, on } of [root, ...ordered]) {
    const base = bases.of(mount);
    const below = base && relativePath(base.root, mount.root);
    if (base && below !== undefined) steps.push({ mount, index: mounts.indexOf(mount), base, below, on });
    else faults.push({ mount, reason: 'uncovered' });
  }
  const placed = new Set([root, ...ordered].map(({ mount }) => mount));
  for (const mount of mounts) if (!placed.has(mount)) faults.push({ mount, reason: 'orphan' });
  return faults.length > 0 ? faults : { steps, groups: groupsOf(mounts, others, bases) };
}

/** Chooses bases. */
class Bases {
  readonly #given = new Map<number, Base[]>();
  readonly #remade = new Map<number, Base>();
  readonly #isRemade: (mount: Mount) => boolean;

  constructor(mounts: readonly Mount[], isRemade: (mount: Mount) => boolean) {
    this.#isRemade = isRemade;
    for (const mount of mounts) {
      const { origin, dev, root } = mount;
      if (!origin) continue;
      const bases = this.#given.get(dev) ?? [];
      const device = origin.kind === 'device';
      const key = device ? `device ${origin.key}` : `mount ${mount.id}`;
      if (bases.some((base) => base.key === key)) continue;
      bases.push({ key, dev, root: device ? '/' : root, mount, origin });
      this.#given.set(dev, bases);
    }
  }

  /** The base of a mount; undefined if there is none. */
  of(mount: Mount): Base | undefined {
    const given = this.#given.get(mount.dev) ?? [];
    const own = given.find((base) => base.mount === mount);
    if (own) return own;
    const covering = given.filter((base) => relativePath(base.root, mount.root) !== undefined);
    // The root of the namespace goes first: with --root the whole tree may be in another folder now.
    const best = covering.find(({ origin }) => origin?.kind === 'root') ?? widest(covering);
    if (best) return best;
    if (!this.#isRemade(mount)) return undefined;
    const known = this.#remade.get(mount.dev);
    const base = known ?? { key: `device number ${mount.dev}`, dev: mount.dev, root: '/', mount, origin: undefined };
    this.#remade.set(mount.dev, base);
    return base;
  }
}

function widest(bases: readonly Base[]): Base | undefined {
  return bases.reduce<Base | undefined>(
    (best, base) => (best && best.root.length <= base.root.length ? best : base),
    undefined,
  );
}

/**
 * Mounts in the order in which they can be attached, the root first; without those that cannot be reached from it. Of
 * the children of a mount those with the longer paths go first, since a shorter one may cover them.
 */
function attachingOrder(mounts: readonly Mount[]): { mount: Mount; on: MountStep['on'] }[] {
  const ids = new Set(mounts.map(({ id }) => id));
  const root = mounts.find(({ parent, id, mountPoint }) => mountPoint === '/' && (!ids.has(parent) || parent === id));
  if (!root) return [];
  const children = new Map<number, Mount[]>();
  for (const mount of mounts) {
    if (mount === root) continue;
    const siblings = children.get(mount.parent) ?? [];
    siblings.push(mount);
    children.set(mount.parent, siblings);
  }
  const order: { mount: Mount; on: MountStep['on'] }[] = [];
  const pending: { mount: Mount; on: MountStep['on'] }[] = [{ mount: root, on: undefined }];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { mount } = next;
    order.push(next);
    const below = (children.get(mount.id) ?? []).flatMap((child) => {
      const at = relativePath(mount.mountPoint, child.mountPoint);
      return at === undefined ? [] : [{ mount: child, on: { parent: mount.id, at } }];
    });
    children.delete(mount.id);
    // The last one is taken first.
    pending.push(...below.sort((a, b) => a.on.at.length - b.on.at.length));
  }
  return order;
}

/**
 * The root of a namespace and the mounts that are locked on it, one on the other, by ID: what a process has got of the
 * mounts of another user namespace. Those that are locked on something else are not among them. Pure.
 */
export function lockedPart(mounts: readonly Mount[]): ReadonlySet<number> {
  const ids = new Set(mounts.map(({ id }) => id));
  const part = new Set(
    mounts.filter(({ mountPoint, parent }) => mountPoint === '/' && !ids.has(parent)).map(({ id }) => id),
  );
  for (let before = -1; before !== part.size; ) {
    before = part.size;
    for (const { id, parent, isLocked } of mounts) if (isLocked && part.has(parent)) part.add(id);
  }
  return part;
}

/** The groups that mounts of a namespace belong to, masters first. */
function groupsOf(mounts: readonly Mount[], others: readonly Mount[], bases: Bases): Group[] {
  const members = new Map<number, Mount[]>();
  const slaves = new Map<number, Mount[]>();
  for (const mount of [...mounts, ...others]) {
    if (mount.shared !== 0) members.set(mount.shared, [...(members.get(mount.shared) ?? []), mount]);
    if (mount.master !== 0) slaves.set(mount.master, [...(slaves.get(mount.master) ?? []), mount]);
  }
  const groups = new Map<number, Group>();
  const add = (id: number, depth: number): void => {
    if (id === 0 || groups.has(id) || depth > members.size + slaves.size) return;
    const peers = members.get(id) ?? [];
    const peer = peers.find(({ outside }) => outside?.as === 'peer');
    // CRIU does not tell whether the group that a mount of the machine is a slave of is outside: not if it has members.
    const candidates = peers.length > 0 ? [] : (slaves.get(id) ?? []);
    const slave = candidates.find(({ outside, shared }) => outside?.as === 'slave' && shared !== id);
    const path = (peer ?? slave)?.outside?.path;
    if (path !== undefined) {
      groups.set(id, { id, master: 0, from: { path } });
      return;
    }
    const base = widest(peers.flatMap((mount) => bases.of(mount) ?? []));
    // A master outside of the tree that nobody can find again: its slaves become private.
    if (!base) return;
    const master = peers[0]?.master ?? 0;
    add(master, depth + 1);
    groups.set(id, { id, master: groups.has(master) ? master : 0, from: { base } });
  };
  for (const mount of mounts) {
    add(mount.master, 0);
    add(mount.shared, 0);
  }
  return [...groups.values()];
}
