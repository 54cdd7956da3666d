/** Which mounts hide others, or files on others. Pure. */
import { addTo } from '../../base/lists.ts';
import { type Mount, relativePath } from './mount.ts';

/**
 * The mounts that cover a mount or a directory above it, by their paths, in an order in which they can be unmounted:
 * what is on a mount goes with it, but of those that are stacked the topmost goes first.
 */
export function coversOf(mount: Mount, mounts: readonly Mount[]): string[] {
  const stackedOn = (below: Mount): number => {
    const above = mounts.find(({ parent, mountPoint }) => parent === below.id && mountPoint === below.mountPoint);
    return above && above !== below ? 1 + stackedOn(above) : 0;
  };
  const found: string[] = [];
  let next: Mount | undefined;
  for (let at: Mount | undefined = mount, steps = 0; at && steps <= mounts.length; steps++) {
    const { id, parent }: Mount = at;
    // On the way from this mount to the next one, what is nearer to its root is met first.
    const limit = next?.mountPoint;
    for (const other of mounts) {
      if (other.parent !== id || other.id === id || other === next) continue;
      const isOnWay =
        limit === undefined
          ? other.mountPoint === mount.mountPoint
          : other.mountPoint.length < limit.length && relativePath(other.mountPoint, limit) !== undefined;
      if (isOnWay) for (let count = 1 + stackedOn(other); count > 0; count--) found.push(other.mountPoint);
    }
    next = at;
    at = mounts.find((other) => other.id === parent && other.id !== id);
  }
  return found.sort((one, other) => one.length - other.length);
}

/** Whether a path on a mount leads to something else, because of what is mounted over it or over the mount. */
export function isHidden(path: string, mount: Mount, mounts: readonly Mount[]): boolean {
  const isOver = ({ id, parent, mountPoint }: Mount): boolean =>
    parent === mount.id && id !== mount.id && relativePath(mountPoint, path) !== undefined;
  return mounts.some(isOver) || coversOf(mount, mounts).length > 0;
}

/**
 * Mounts in an order in which each can be unmounted by its path: what is on a mount goes before it, and of that what
 * covers the rest goes first.
 */
export function unmountingOrder(mounts: readonly Mount[]): Mount[] {
  const ids = new Set(mounts.map(({ id }) => id));
  const on = new Map<number, Mount[]>();
  for (const mount of mounts) if (mount.parent !== mount.id) addTo(on, mount.parent, mount);
  const order: Mount[] = [];
  const add = (mount: Mount): void => {
    const above = on.get(mount.id) ?? [];
    on.delete(mount.id);
    for (const one of above.sort((a, b) => a.mountPoint.length - b.mountPoint.length)) add(one);
    order.push(mount);
  };
  for (const mount of mounts) if (!ids.has(mount.parent) || mount.parent === mount.id) add(mount);
  return order;
}
