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
 * The mounts that cover a mount or a directory above it, by their paths, in an order in which they can be unmounted.
 * Exported for tests.
 */
export function coversOf(mount: Mount, mounts: readonly Mount[]): string[] {
  const byId = new Map(mounts.map((other) => [other.id, other]));
  const isAbove = (one: Mount, other: Mount): boolean => {
    for (let at: Mount | undefined = other, steps = 0; at && steps <= mounts.length; steps++) {
      if (at === one) return true;
      at = byId.get(at.parent);
    }
    return false;
  };
  const covers = mounts
    .filter((other) => relativePath(other.mountPoint, mount.mountPoint) !== undefined)
    .filter((other) => !isAbove(other, mount) && !isBelowOnly(other, mount));
  // What is on a directory of a mount goes with that; of those that are stacked the topmost goes first.
  const goesWith = (cover: Mount, other: Mount): boolean =>
    cover !== other && cover.mountPoint !== other.mountPoint && isAbove(cover, other);
  const needed = covers.filter((other) => !covers.some((cover) => goesWith(cover, other)));
  return needed.map(({ mountPoint }) => mountPoint).sort((a, b) => a.length - b.length);

  /** A mount on a directory inside of the mount does not cover it; one on its root does. */
  function isBelowOnly(other: Mount, covered: Mount): boolean {
    return isAbove(covered, other) && other.mountPoint !== covered.mountPoint;
  }
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
