/** The namespaces that the processes of a tree are in, at a dump: one table for all types. */
import type { HostPid } from '../base/brands.ts';
import { addTo } from '../base/lists.ts';
import type { NamespaceName, SeenNamespace, SeenTask, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { FIRST_FREE_NAMESPACE_ID, type NamespaceIds, OUR_NAMESPACE_IDS } from '../images/namespace-ids.ts';
import { NS_GET } from '../kernel/constants/namespaces.ts';
import { namespaceOf } from '../kernel/namespace.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { statusOf } from '../kernel/statx.ts';
import { Fd, trySyscall } from '../kernel/syscall.ts';
import { openNamespace } from './inside.ts';

/** All types. User namespaces are first, since they own the others. */
export const NAMESPACE_NAMES: readonly NamespaceName[] = ['user', 'pid', 'time', 'mnt', 'net', 'ipc', 'uts', 'cgroup'];

/** The inode numbers of a process's namespaces; -1 where the kernel has none of a type. */
type Inodes = Readonly<Record<NamespaceName, number>>;

function inodesOf(pid: HostPid | 'self'): Inodes {
  const found = NAMESPACE_NAMES.map((name) => [name, namespaceOf(pid, name) ?? -1]);
  return Object.fromEntries(found) as Inodes; // one for each name
}

/** The namespaces of our own; {@link ownInodes} notes them before we are in another one for the first time. */
let own: Inodes | undefined;

function ownInodes(): Inodes {
  own ??= inodesOf('self');
  return own;
}

/** The inode number of a namespace of our own, also while we are in another one; -1 where the kernel has none. */
export function ownInode(name: NamespaceName): number {
  return ownInodes()[name];
}

/** Whether a process is in another namespace than we are when we are at home. */
export function isElsewhere(pid: HostPid, name: NamespaceName): boolean {
  const ours = ownInode(name);
  const theirs = unlessGone(() => namespaceOf(pid, name));
  return theirs !== undefined && theirs !== ours;
}

class SeenNamespaces {
  /** In the order of {@link NAMESPACE_NAMES}, and of their first members; without those of Stasis itself. */
  readonly others: readonly SeenNamespace[];
  readonly #ofTask = new Map<number, ReadonlyMap<NamespaceName, SeenNamespace>>();
  readonly #ids = new Map<number, NamespaceIds>();

  constructor(tree: SeenTree) {
    const ours = ownInodes();
    const inodes = new Map<SeenTask, Inodes>();
    for (const task of tree.tasks) {
      // Members of a running tree may end at any time.
      const its = tree.frozen ? inodesOf(task.pid) : unlessGone(() => inodesOf(task.pid));
      if (its) inodes.set(task, its);
    }
    let nextId = FIRST_FREE_NAMESPACE_ID;
    const others: SeenNamespace[] = [];
    const found = new Map<SeenTask, Map<NamespaceName, SeenNamespace>>();
    for (const task of inodes.keys()) found.set(task, new Map());
    for (const name of NAMESPACE_NAMES) {
      const members = new Map<number, SeenTask[]>();
      for (const [task, its] of inodes) if (its[name] >= 0) addTo(members, its[name], task);
      for (const [ino, tasks] of members) {
        const isOurs = ino === ours[name];
        const id = isOurs ? OUR_NAMESPACE_IDS[name] : nextId++;
        const owner = isOurs ? undefined : ownerOf(name, tasks, others);
        const namespace = { name, ino, id, ours: isOurs, members: tasks, owner };
        if (!isOurs) others.push(namespace);
        for (const task of tasks) found.get(task)?.set(name, namespace);
      }
    }
    this.others = others;
    for (const [{ pid }, its] of found) {
      this.#ofTask.set(pid, its);
      const ids = NAMESPACE_NAMES.map((name) => [name, its.get(name)?.id ?? OUR_NAMESPACE_IDS[name]]);
      this.#ids.set(pid, Object.fromEntries(ids) as NamespaceIds); // one for each name
    }
  }

  /** The namespace that a process is in; undefined if it has ended, or if the kernel has none of this type. */
  of(pid: HostPid, name: NamespaceName): SeenNamespace | undefined {
    return this.#ofTask.get(pid)?.get(name);
  }

  /** The namespace with this inode number, if processes of the tree are in it. */
  withInode(name: NamespaceName, ino: number): SeenNamespace | undefined {
    return this.others.find((other) => other.name === name && other.ino === ino);
  }

  /** The IDs of the namespaces that a process is in. */
  idsOf(pid: HostPid): NamespaceIds {
    return this.#ids.get(pid) ?? OUR_NAMESPACE_IDS;
  }
}

/**
 * The user namespace that owns a namespace, if processes of the tree are in that one: ioctl_nsfs(2). `others` has all
 * user namespaces already, outer ones before inner ones if their first members are parents and children.
 */
function ownerOf(name: NamespaceName, [member]: readonly SeenTask[], others: readonly SeenNamespace[]) {
  if (!member || !others.some((other) => other.name === 'user')) return undefined;
  using fd = openNamespace(member.pid, name);
  const owner = trySyscall('ioctl', fd.number, NS_GET.USERNS, 0);
  if (owner < 0) return undefined; // it is not below our own user namespace
  using file = new Fd(owner);
  const { ino } = statusOf(file.number);
  return others.find((other) => other.name === 'user' && other.ino === ino);
}

/** The namespaces of a tree. */
export const SEEN_NAMESPACES = new Slot((tree: SeenTree) => new SeenNamespaces(tree));
