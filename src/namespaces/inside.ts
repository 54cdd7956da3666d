/**
 * Acting inside a namespace: Stasis enters it with setns(2), does something, and returns. Only its calling thread
 * enters, which is the one that makes all its system calls.
 *
 * A user namespace cannot be entered by a process with several threads (userns_install() in kernel/user_namespace.c);
 * there a process of the tree has to act. Inside a mount namespace paths mean other files, `/proc` among them: what
 * only needs files there uses a descriptor of its root (`RESOLVE_IN_ROOT`) instead.
 */
import type { HostPid, LocalFd } from '../base/brands.ts';
import type { NamespaceName, SeenNamespace } from '../contract/contract.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { parseNsLink } from '../kernel/proc/namespaces.ts';
import { statusOf } from '../kernel/statx.ts';
import { arenaPath, ERRNO, Fd, insist, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';

/** The flag of each type of namespace in clone(2), unshare(2) and setns(2). */
export const NAMESPACE_FLAGS: Readonly<Record<NamespaceName, bigint>> = {
  user: CLONE.NEWUSER,
  pid: CLONE.NEWPID,
  mnt: CLONE.NEWNS,
  net: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  time: CLONE.NEWTIME,
  cgroup: CLONE.NEWCGROUP,
};

/** The type and the inode number of a namespace, as the links of its files name it; undefined for any other text. */
export function namespaceNamed(link: string): { readonly name: NamespaceName; readonly ino: number } | undefined {
  if (link.startsWith('/')) return undefined;
  const parsed = parseNsLink(link);
  return parsed && Object.hasOwn(NAMESPACE_FLAGS, parsed.type)
    ? { name: parsed.type as NamespaceName, ino: parsed.ino }
    : undefined;
}

/** The types that {@link inside} can enter. */
export type EnterableNamespace = Extract<NamespaceName, 'net' | 'ipc' | 'uts' | 'mnt' | 'cgroup'>;

/**
 * The /proc of our own mount namespace, open from the first time on that one of our own namespaces was opened: inside
 * of a mount namespace of a tree there may be no /proc, or another one.
 */
let ownProc: Fd | undefined;

/** The /proc of our own mount namespace, which it leads to also inside of others. */
export function procOfOurs(): LocalFd {
  ownProc ??= new Fd(syscall('openat', AT.FDCWD, arenaPath('/proc'), DIRECTORY, 0));
  return ownProc.number;
}

/** Opens a namespace that a process is in. @throws SyscallError */
export function openNamespace(
  pid: HostPid | 'self',
  name: NamespaceName | 'time_for_children' | 'pid_for_children',
): Fd {
  const [from, path] = pid === 'self' ? [procOfOurs(), `self/ns/${name}`] : [AT.FDCWD, `/proc/${pid}/ns/${name}`];
  const fd = trySyscall('openat', from, arenaPath(path), O.RDONLY | O.CLOEXEC, 0);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: `/proc/${pid}/ns/${name}` });
  return new Fd(fd);
}

const DIRECTORY = O.PATH | O.DIRECTORY | O.CLOEXEC;

/**
 * Does `work` inside the namespace behind `fd`, and returns to our own in any case.
 * @throws SyscallError if it may not be entered, and whatever `work` throws
 */
export function inside<T>(name: EnterableNamespace, fd: LocalFd, work: () => T): T {
  using _ = new Excursion(name, fd);
  return work();
}

/** The inode number of the network namespace that Stasis has entered last; 0 where it has entered none. */
let presentNetwork = 0;

/** A number for the network namespace that Stasis is in now: what is found out about one does not hold in another. */
export function presentNetworkMark(): number {
  return presentNetwork;
}

/** Enters a namespace. Returns 0 or -errno. */
function tryEnter(name: EnterableNamespace, fd: LocalFd): number {
  if (name !== 'mnt') return trySyscall('setns', fd, NAMESPACE_FLAGS[name]);
  // A mount namespace cannot be entered while another thread has the working directory and the root in common
  // (mntns_install() in fs/namespace.c), as threads have that the runtime starts, at any moment.
  for (let attempt = 0; ; attempt++) {
    syscall('unshare', CLONE.FS);
    const entered = trySyscall('setns', fd, NAMESPACE_FLAGS.mnt);
    if (entered !== -ERRNO.EINVAL || attempt >= 100) return entered;
  }
}

/** The time in which Stasis is in another namespace. */
class Excursion implements Disposable {
  readonly #name: EnterableNamespace;
  readonly #own: Fd;
  readonly #before = presentNetwork;
  /** The working directory and the root, which setns(2) to a mount namespace changes. */
  readonly #places: readonly Fd[];

  constructor(name: EnterableNamespace, fd: LocalFd) {
    this.#name = name;
    this.#own = openNamespace('self', name);
    this.#places = name === 'mnt' ? [openDirectory('/'), openDirectory('.')] : [];
    const entered = tryEnter(name, fd);
    if (entered === 0) {
      if (name === 'net') presentNetwork = statusOf(fd).ino;
      return;
    }
    this.#close();
    throw new SyscallError('setns', -entered, { resource: `${name} namespace` });
  }

  [Symbol.dispose](): void {
    if (tryEnter(this.#name, this.#own.number) < 0) insist('setns', this.#own.number, NAMESPACE_FLAGS[this.#name]);
    if (this.#name === 'net') presentNetwork = this.#before;
    const [root, place] = this.#places;
    if (root && place) {
      insist('fchdir', root.number);
      insist('chroot', arenaPath('.'));
      insist('fchdir', place.number);
    }
    this.#close();
  }

  /** The namespace that it has left. */
  get own(): LocalFd {
    return this.#own.number;
  }

  #close(): void {
    for (const fd of [this.#own, ...this.#places]) fd[Symbol.dispose]();
  }
}

/** As {@link inside}, for a namespace that a process is in. */
export function insideOf<T>(pid: HostPid | 'self', name: EnterableNamespace, work: () => T): T {
  using fd = openNamespace(pid, name);
  return inside(name, fd.number, work);
}

/** As {@link inside}, for a namespace that a dump has seen. */
export function insideSeen<T>(name: EnterableNamespace, { ours, open }: SeenNamespace, work: () => T): T {
  if (ours) return work();
  using fd = open();
  return inside(name, fd.number, work);
}

function openDirectory(path: string): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.DIRECTORY | O.CLOEXEC, 0));
}

/** The network namespace that Stasis has left for a while, if it has. */
let home: LocalFd | undefined;

/**
 * A stay in the network namespace of a tree: sockets are looked at and made there, their lock and their devices are
 * there. Declared before what is to end inside; without {@link enter} it is none.
 */
export class NetworkStay implements Disposable {
  #excursion: Excursion | undefined;

  /** Enters a network namespace, unless it has entered one. @throws SyscallError */
  enter(fd: LocalFd): void {
    if (this.#excursion) return;
    this.#excursion = new Excursion('net', fd);
    home = this.#excursion.own;
  }

  [Symbol.dispose](): void {
    if (!this.#excursion) return;
    home = undefined;
    this.#excursion[Symbol.dispose]();
    this.#excursion = undefined;
  }
}

/** Does `work` in our own network namespace, for what is of the machine and not of the tree: scripts, for example. */
export function atHome<T>(work: () => T): T {
  return home === undefined ? work() : inside('net', home, work);
}
