/** The namespaces that a tree is in or keeps, and their owners, at a dump: one table for all types. */
import type { HostPid } from '../base/brands.ts';
import { addTo } from '../base/lists.ts';
import { Part } from '../base/part.ts';
import type { NamespaceName, SeenNamespace, SeenTask, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import {
  FIRST_FREE_NAMESPACE_ID,
  NAMESPACE_TYPES,
  type NamespaceIds,
  OUR_NAMESPACE_IDS,
} from '../images/namespace-ids.ts';
import { NS_GET } from '../kernel/constants/namespaces.ts';
import { namespaceOf } from '../kernel/namespace.ts';
import { unlessGone } from '../kernel/proc/tree.ts';
import { statusOf } from '../kernel/statx.ts';
import { Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { namespaceNamed, openNamespace } from './inside.ts';

// For trees that may keep namespaces.
const HELD = new Part(() => require('./held.ts') as typeof import('./held.ts'));

/** The inode numbers of a process's namespaces; -1 where the kernel has none of a type. */
type Inodes = Readonly<Record<NamespaceName, number>>;

function inodesOf(pid: HostPid | 'self'): Inodes {
  const found = NAMESPACE_TYPES.map((name) => [name, namespaceOf(pid, name) ?? -1]);
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
  /**
   * Without those of Stasis itself; in the order of {@link NAMESPACE_TYPES}, and of their first members. Those without
   * members are last.
   */
  readonly others: readonly Draft[];
  readonly #add: Add;
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
    const others: Draft[] = [];
    const add: Add = (facts) => {
      const namespace = { ...facts, id: FIRST_FREE_NAMESPACE_ID + others.length, ours: false, owner: undefined };
      others.push(namespace);
      return namespace;
    };
    const found = new Map<SeenTask, Map<NamespaceName, SeenNamespace>>();
    for (const task of inodes.keys()) found.set(task, new Map());
    for (const name of NAMESPACE_TYPES) {
      const members = new Map<number, SeenTask[]>();
      for (const [task, its] of inodes) if (its[name] >= 0) addTo(members, its[name], task);
      for (const [ino, tasks] of members) {
        const [first] = tasks;
        if (!first) continue;
        const facts = { name, ino, members: tasks, open: () => openNamespace(first.pid, name) };
        const isOurs = ino === ours[name];
        const namespace = isOurs ? { ...facts, id: OUR_NAMESPACE_IDS[name], ours: true, owner: undefined } : add(facts);
        for (const task of tasks) found.get(task)?.set(name, namespace);
      }
    }
    if (mayKeepNamespaces(tree, others)) HELD.load().addKept(tree, others, add);
    this.others = others;
    this.#add = add;
    this.#findOwners(tree, others);
    for (const [{ pid }, its] of found) {
      this.#ofTask.set(pid, its);
      const ids = NAMESPACE_TYPES.map((name) => [name, its.get(name)?.id ?? OUR_NAMESPACE_IDS[name]]);
      this.#ids.set(pid, Object.fromEntries(ids) as NamespaceIds); // one for each name
    }
  }

  /** Owners that no process is in are added on the way, and have owners in turn. */
  #findOwners(tree: SeenTree, others: readonly Draft[], from = 0): void {
    for (let at = from; at < others.length; at++) {
      const namespace = others[at] as Draft; // at < length
      const look = (): SeenNamespace | undefined => ownerOf(namespace, others, this.#add);
      namespace.owner = tree.frozen ? look() : unlessGone(look);
    }
  }

  /** Adds a namespace that the tree keeps, which was found later. Others are not looked for in it. */
  keep(tree: SeenTree, facts: Facts): SeenNamespace {
    const from = this.others.length;
    const added = this.#add(facts);
    this.#findOwners(tree, this.others, from);
    return added;
  }

  /** The namespace that a process is in; undefined if it has ended, or if the kernel has none of this type. */
  of(pid: HostPid, name: NamespaceName): SeenNamespace | undefined {
    return this.#ofTask.get(pid)?.get(name);
  }

  /** The namespace with this inode number, if it is carried. */
  withInode(name: NamespaceName, ino: number): SeenNamespace | undefined {
    return this.others.find((other) => other.name === name && other.ino === ino);
  }

  /** The IDs of the namespaces that a process is in. */
  idsOf(pid: HostPid): NamespaceIds {
    return this.#ids.get(pid) ?? OUR_NAMESPACE_IDS;
  }
}

/** Whether a tree may keep namespaces that no process of it is in: it has some open, or mount namespaces. */
function mayKeepNamespaces({ tasks }: SeenTree, others: readonly Draft[]): boolean {
  if (others.some(({ name }) => name === 'mnt')) return true;
  return tasks.some(({ fds }) => fds.some(({ link }) => namespaceNamed(link)));
}

/** What is known of a namespace when it is met. */
export type Facts = Pick<Draft, 'name' | 'ino' | 'members' | 'open' | 'isMounted'>;

/** Enters a namespace in the table. */
export type Add = (facts: Facts) => Draft;

/** A namespace whose owner is still to be found. */
export type Draft = { -readonly [K in keyof SeenNamespace]: SeenNamespace[K] };

/** The user namespace that owns a namespace, if that is not ours; one that is not among `others` is added. */
function ownerOf(namespace: Draft, others: readonly Draft[], add: Add): Draft | undefined {
  const owner = openOwner(namespace);
  if (owner < 0) return undefined; // it is not below our own user namespace
  using file = new Fd(owner);
  const { ino } = statusOf(file.number);
  if (ino === ownInode('user')) return undefined;
  const open = (): Fd => {
    const opened = openOwner(namespace);
    if (opened < 0) throw new SyscallError('ioctl', -opened, { resource: `user namespace ${ino}` });
    return new Fd(opened);
  };
  return (
    others.find((other) => other.name === 'user' && other.ino === ino) ?? add({ name: 'user', ino, members: [], open })
  );
}

/** Opens the user namespace that owns a namespace: ioctl_nsfs(2). Returns a descriptor or -errno. */
function openOwner(namespace: SeenNamespace): number {
  using fd = namespace.open();
  return trySyscall('ioctl', fd.number, NS_GET.USERNS, 0);
}

/** User namespaces from the outermost that is not ours to one of them. */
export function usersDownTo(namespace: SeenNamespace | undefined): SeenNamespace[] {
  const found: SeenNamespace[] = [];
  for (let at = namespace; at && !at.ours; at = at.owner) found.unshift(at);
  return found;
}

/** The parent of a process, if that is in the tree as well. */
export function parentIn({ tasks }: SeenTree, { stat }: SeenTask): SeenTask | undefined {
  return tasks.find(({ pid }) => Number(pid) === stat.ppid);
}

/** The namespaces of a tree. */
export const SEEN_NAMESPACES = new Slot((tree: SeenTree) => new SeenNamespaces(tree));
