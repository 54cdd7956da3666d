/** Reaches the mounts of a namespace at a dump, also those that are covered by others. */
import { StasisError } from '../../base/errors.ts';
import type { SeenNamespace } from '../../contract/contract.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { MNT_DETACH, MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { changeMount, cloneMount } from '../../kernel/mounts.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { insideOf } from '../inside.ts';
import { type Mount, nameOf, relativePath } from './mount.ts';

/**
 * The mounts that cover a mount or a directory above it, by their paths, in an order in which they can be unmounted:
 * what is on a mount goes with it, but of those that are stacked the topmost goes first. Exported for tests.
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

/**
 * A copy of a mount with nothing mounted on it, attached nowhere. If the mount is covered, or may not be copied, Stasis
 * changes that in a copy of the namespace that nobody else is in.
 */
export function bareCopy(mount: Mount, mounts: readonly Mount[], { members: [member] }: SeenNamespace): Fd {
  if (!member) throw new StasisError({ kind: 'internal', reason: 'a namespace without members' });
  const covers = coversOf(mount, mounts);
  return insideOf(member.pid, 'mnt', () => {
    if (covers.length > 0 || mount.unbindable) {
      syscall('unshare', CLONE.NEWNS);
      using root = openPath('/', mount);
      changeMount(root.number, { propagation: MS.PRIVATE, recursive: true }, nameOf(mount));
      for (const path of covers) {
        // What was on a mount that was unmounted before is gone.
        trySyscall('umount2', arenaPath(path), MNT_DETACH);
      }
    }
    using fd = openPath(mount.mountPoint, mount);
    if (statusOf(fd.number).dev !== mount.dev) {
      throw new StasisError({
        kind: 'conflict',
        resource: nameOf(mount),
        reason: 'what covers it cannot be taken away',
      });
    }
    return cloneMount(fd.number, '', nameOf(mount));
  });
}

function openPath(path: string, mount: Mount): Fd {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.NOFOLLOW | O.CLOEXEC);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: nameOf(mount) });
  return new Fd(fd);
}
