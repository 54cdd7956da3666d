/** Reaches the mounts of a namespace at a dump, also those that are covered by others. */
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { cstring } from '../../base/text.ts';
import type { SeenNamespace } from '../../contract/contract.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { MNT_DETACH, MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { changeMount, cloneMount } from '../../kernel/mounts.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { Batch } from '../../tracee/batch.ts';
import { handOver } from '../../tracee/handover.ts';
import { Seed } from '../../tracee/seed.ts';
import { insideOf, openNamespace } from '../inside.ts';
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
 * changes that in a copy of the namespace that nobody else is in. `own` are the mounts of the machine.
 */
export function bareCopy(
  mount: Mount,
  mounts: readonly Mount[],
  { members: [member], owner }: SeenNamespace,
  own: readonly Mount[],
): Fd {
  if (!member) throw new StasisError({ kind: 'internal', reason: 'a namespace without members' });
  const covers = coversOf(mount, mounts);
  if (covers.length === 0 && !mount.unbindable)
    return insideOf(member.pid, 'mnt', () => cloneOf(mount) ?? covered(mount));
  const found = owner
    ? uncoveredInside(mount, covers, member.pid)
    : insideOf(member.pid, 'mnt', () => uncovered(mount, covers));
  if (found) return found;
  // What a user namespace has got from the machine cannot be unmounted there (lock_mnt_tree() in fs/namespace.c).
  const there = own.find(({ dev, root }) => dev === mount.dev && root === mount.root);
  return (there && insideOf('self', 'mnt', () => uncovered(there, coversOf(there, own)))) ?? covered(mount);
}

/** In a copy of the namespace that Stasis is in: a copy of a mount; undefined if what covers it stays. */
function uncovered(mount: Mount, covers: readonly string[]): Fd | undefined {
  syscall('unshare', CLONE.NEWNS);
  using root = openPath('/', mount);
  changeMount(root.number, { propagation: MS.PRIVATE, recursive: true }, nameOf(mount));
  // What was on a mount that was unmounted before is gone.
  for (const path of covers) trySyscall('umount2', arenaPath(path), MNT_DETACH);
  return cloneOf(mount);
}

/**
 * As {@link uncovered}, for a namespace that belongs to a user namespace. In a copy that another one has made nothing
 * can be unmounted, so a helper makes it that is in the same one.
 */
function uncoveredInside(mount: Mount, covers: readonly string[], member: HostPid): Fd | undefined {
  using copy = new InnerCopy(member);
  for (const path of covers) copy.unmount(path);
  return insideOf(copy.pid, 'mnt', () => cloneOf(mount));
}

/** The mounts of a namespace that belongs to a user namespace which the kernel lets nobody unmount in there. */
export function lockedMounts(mounts: readonly Mount[], { members: [member] }: SeenNamespace): Mount[] {
  if (!member) return [];
  using copy = new InnerCopy(member.pid);
  // What is on a mount goes with it, so the deepest go first. The root cannot be unmounted in any case.
  const deepest = mounts
    .filter(({ mountPoint }) => mountPoint !== '/')
    .toSorted((a, b) => b.mountPoint.length - a.mountPoint.length || b.id - a.id);
  return deepest.filter(({ mountPoint }) => copy.unmount(mountPoint) === -ERRNO.EINVAL);
}

/** A private copy of the mount namespace of a process, made by a helper that is in the same user namespace. */
class InnerCopy implements Disposable {
  readonly #seed = Seed.anywhere();
  readonly #batch = new Batch(this.#seed.remote);

  constructor(member: HostPid) {
    try {
      using users = openNamespace(member, 'user');
      using places = openNamespace(member, 'mnt');
      const [user = -1, place = -1] = handOver(this.#seed, this.#batch, [users.number, places.number]);
      const root = cstring('/');
      const program = this.#batch.reserve(4, root.length + 8);
      program.call('setns', user, CLONE.NEWUSER);
      program.call('setns', place, CLONE.NEWNS);
      program.call('unshare', CLONE.NEWNS);
      program.call('mount', 0, program.data(root), 0, MS.PRIVATE | MS.REC, 0);
      this.#batch.flush();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The helper. */
  get pid(): HostPid {
    return this.#seed.tracee.pid;
  }

  /** Unmounts what is at a path, with all that is on it. Returns 0 or -errno. */
  unmount(path: string): number {
    const bytes = cstring(path);
    const program = this.#batch.reserve(1, bytes.length + 8);
    const done = program.attempt('umount2', program.data(bytes), MNT_DETACH);
    this.#batch.flush();
    return program.result(done);
  }

  [Symbol.dispose](): void {
    this.#seed[Symbol.dispose]();
  }
}

/** A copy of a mount, if its path leads to it. */
function cloneOf(mount: Mount): Fd | undefined {
  using fd = openPath(mount.mountPoint, mount);
  return statusOf(fd.number).dev === mount.dev ? cloneMount(fd.number, '', nameOf(mount)) : undefined;
}

function covered(mount: Mount): never {
  throw new StasisError({
    kind: 'conflict',
    resource: nameOf(mount),
    reason: 'what covers it cannot be taken away',
    remedy: `name what is mounted there at the restore: --external mnt[${mount.mountPoint}]:NAME`,
  });
}

function openPath(path: string, mount: Mount): Fd {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.NOFOLLOW | O.CLOEXEC);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: nameOf(mount) });
  return new Fd(fd);
}
