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
import { inside, insideOf } from '../inside.ts';
import { coversOf, unmountingOrder } from './covers.ts';
import { type Mount, nameOf } from './mount.ts';

/**
 * A copy of a mount with nothing mounted on it, attached nowhere. If the mount is covered, or may not be copied, Stasis
 * changes that in a copy of the namespace that nobody else is in; undefined if what covers it is locked, so that nobody
 * can reach it but by what is open on it. `own` are the mounts of the machine.
 */
export function bareCopy(
  mount: Mount,
  mounts: readonly Mount[],
  namespace: SeenNamespace,
  own: readonly Mount[],
): Fd | undefined {
  using file = namespace.open();
  const within = (work: () => Fd | undefined): Fd | undefined => inside('mnt', file.number, work);
  const covers = coversOf(mount, mounts);
  if (covers.length === 0 && !mount.unbindable) return within(() => cloneOf(mount) ?? covered(mount));
  const { owner } = namespace;
  const found = owner ? uncoveredInside(mount, covers, namespace, owner) : within(() => uncovered(mount, covers));
  if (found) return found;
  // What a user namespace has got from the machine cannot be unmounted there (lock_mnt_tree() in fs/namespace.c).
  const there = own.find(({ dev, root }) => dev === mount.dev && root === mount.root);
  const copy = there && insideOf('self', 'mnt', () => uncovered(there, coversOf(there, own)));
  return copy ?? (owner ? undefined : covered(mount));
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
function uncoveredInside(
  mount: Mount,
  covers: readonly string[],
  namespace: SeenNamespace,
  owner: SeenNamespace,
): Fd | undefined {
  using copy = new InnerCopy(namespace, owner);
  for (const path of covers) copy.unmount(path);
  return insideOf(copy.pid, 'mnt', () => cloneOf(mount));
}

/** The mounts of a namespace that belongs to a user namespace which the kernel lets nobody unmount in there. */
export function lockedMounts(mounts: readonly Mount[], namespace: SeenNamespace): Mount[] {
  if (!namespace.owner) return [];
  using copy = new InnerCopy(namespace, namespace.owner);
  // The root cannot be unmounted in any case.
  return unmountingOrder(mounts).filter(({ mountPoint }) => {
    return mountPoint !== '/' && copy.unmount(mountPoint) === -ERRNO.EINVAL;
  });
}

/** A private copy of a mount namespace, made by a helper that is in its user namespace. */
class InnerCopy implements Disposable {
  readonly #seed = Seed.anywhere();
  readonly #batch = new Batch(this.#seed.remote);

  constructor(namespace: SeenNamespace, owner: SeenNamespace) {
    try {
      using users = owner.open();
      using places = namespace.open();
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

/** The error for a mount that cannot be reached. */
export function covered(mount: Mount): never {
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
