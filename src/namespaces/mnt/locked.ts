/**
 * Mounts that nobody in the user namespace of a mount namespace may unmount, or take attributes from (MNT_LOCKED,
 * MNT_LOCK_READONLY, …). The kernel locks a tree of mounts that comes into a mount namespace of a less privileged user
 * namespace by propagation: all but its root (lock_mnt_tree() in fs/namespace.c).
 */
import { type LocalFd, localFd } from '../../base/brands.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { MS } from '../../kernel/constants/mounts.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { attachMount, changeMount, cloneMount, mountNew, tryOpenInRoot } from '../../kernel/mounts.ts';
import { arenaPath, Fd, SyscallError, syscall } from '../../kernel/syscall.ts';
import { inside } from '../inside.ts';
import type { Mount } from './mount.ts';
import type { MountStep } from './plan.ts';

const WHAT = 'the mount by which locked mounts come into a namespace';
const NAME = 'root';

/**
 * A mount in the namespace that Stasis is in, which gets what is mounted on another one of its peer group, in a
 * namespace of our user namespace.
 */
export class MeetingPoint implements Disposable {
  readonly #near: Fd;
  readonly #far: Fd;

  /** Is stacked on `oldRoot`. */
  constructor(oldRoot: LocalFd) {
    this.#near = mountNew('tmpfs');
    try {
      makeDirectory(this.#near.number, NAME)[Symbol.dispose]();
      // Before Linux 6.15 open_tree(2) copies only mounts that are attached in the namespace of the caller.
      attachMount(this.#near.number, oldRoot, WHAT);
      changeMount(this.#near.number, { propagation: MS.SHARED }, WHAT);
      this.#far = cloneMount(this.#near.number, '', WHAT);
      changeMount(this.#near.number, { propagation: MS.SLAVE }, WHAT);
    } catch (error) {
      this.#near[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Calls `assemble` in a copy of the namespace `home`, with a descriptor of its root; it returns the root of a tree of
   * mounts there. Returns a descriptor of the root of the same tree here, whose other mounts are locked.
   */
  bring(home: LocalFd, assemble: (root: LocalFd) => LocalFd): Fd {
    inside('mnt', home, () => {
      syscall('unshare', CLONE.NEWNS);
      using root = openPrivateRoot();
      // Whatever is attached to one directory is stacked, and what is put together shares nothing with others yet.
      using stage = mountNew('tmpfs');
      attachMount(stage.number, root.number, WHAT);
      using place = makeDirectory(stage.number, 'meeting');
      using other = makeDirectory(stage.number, 'tree');
      attachMount(this.#far.number, place.number, WHAT);
      const tree = assemble(other.number);
      using destination = this.#open(this.#far);
      attachMount(tree, destination.number, WHAT);
    });
    const arrived = this.#open(this.#near);
    changeMount(arrived.number, { propagation: MS.PRIVATE, recursive: true }, WHAT);
    return arrived;
  }

  #open(on: Fd): Fd {
    return openBelow(on.number, NAME);
  }

  [Symbol.dispose](): void {
    this.#near[Symbol.dispose]();
    this.#far[Symbol.dispose]();
  }
}

/** Opens the root directory of the mount namespace that Stasis is in, none of whose mounts shares with others then. */
export function openPrivateRoot(): Fd {
  const root = new Fd(syscall('openat', AT.FDCWD, arenaPath('/'), O.PATH | O.DIRECTORY | O.CLOEXEC));
  changeMount(root.number, { propagation: MS.PRIVATE, recursive: true }, 'the mounts of Stasis');
  return root;
}

function makeDirectory(on: LocalFd, name: string): Fd {
  syscall('mkdirat', on, arenaPath(name), 0o700);
  return openBelow(on, name);
}

/**
 * Finds the mounts that have arrived, by where they are; `root` is that of the first. Of mounts that are stacked only
 * the topmost can be found: no path leads to those below, and they cannot be unmounted.
 */
export function findArrived(steps: readonly MountStep[], root: Fd): { readonly mount: Mount; readonly fd: Fd }[] {
  const covered = new Set(steps.flatMap(({ on }) => (on?.at === '' ? [on.parent] : [])));
  const found = new Map<number, Fd>();
  // The root of what is stacked is reached by the place of the lowest one.
  const reach = new Map<number, { readonly parent: number; readonly at: string }>();
  return steps.flatMap(({ mount, on }) => {
    const place = on && (on.at === '' ? reach.get(on.parent) : on);
    if (place) reach.set(mount.id, place);
    if (covered.has(mount.id)) return [];
    const parent = place && found.get(place.parent);
    if (on && !parent) return [];
    const fd = place && parent ? openBelow(parent.number, place.at) : root;
    found.set(mount.id, fd);
    return [{ mount, fd }];
  });
}

function openBelow(on: LocalFd, path: string): Fd {
  const opened = tryOpenInRoot(on, path, O.PATH | O.NOFOLLOW);
  if (opened < 0) throw new SyscallError('openat2', -opened, { resource: `${WHAT}, ${path}` });
  return new Fd(localFd(opened));
}
