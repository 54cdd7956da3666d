/**
 * Namespaces that no process of a tree is in, and that exist since something of the tree keeps them: an open file, or a
 * mount. They are carried if they belong to the tree alone.
 */
import type { HostPid, LocalFd } from '../base/brands.ts';
import type { NamespaceName, OpenFile, SeenNamespace, SeenTree } from '../contract/contract.ts';
import { KeyedSlot, Slot } from '../contract/slots.ts';
import { O } from '../kernel/constants/files.ts';
import { duplicate, namesIn, openFile, tryReadLink } from '../kernel/files.ts';
import { type MountInfo, parseMountInfo } from '../kernel/proc/mountinfo.ts';
import { readProc } from '../kernel/proc/read.ts';
import { allProcesses, threadsOf, unlessGone } from '../kernel/proc/tree.ts';
import { statusAt, statusOf } from '../kernel/statx.ts';
import { type Fd, SyscallError } from '../kernel/syscall.ts';
import { externalName } from './external.ts';
import { insideSeen, namespaceNamed } from './inside.ts';
import { MOUNT_INFOS } from './mount-info.ts';
import { type Add, type Draft, ownInode } from './seen.ts';

/** A namespace that something of a tree keeps. */
export interface HeldNamespace {
  readonly name: NamespaceName;
  readonly ino: number;
  /** Opens it. @throws SyscallError */
  open(): Fd;
}

/** The namespace behind an open file; undefined for all other files. */
export function namespaceBehind({ link }: OpenFile): ReturnType<typeof namespaceNamed> {
  return namespaceNamed(link);
}

/** Adds the namespaces that a tree keeps to the table of those it is in, and marks those that are mounted. */
export function addKept(tree: SeenTree, others: readonly Draft[], add: Add): void {
  const known = ({ name, ino }: HeldNamespace): Draft | undefined =>
    others.find((other) => other.name === name && other.ino === ino);
  for (const held of namespacesInDescriptors(tree)) {
    if (!known(held) && isCarried(tree, held)) add({ ...held, members: [] });
  }
  for (const places of others) {
    if (places.name !== 'mnt') continue;
    for (const mounted of mountedNamespaces(tree, places)) {
      const one = known(mounted);
      if (one) one.isMounted = true;
      else if (isCarried(tree, mounted)) add({ ...mounted, members: [], isMounted: true });
    }
  }
}

/** The namespaces that descriptors of a tree are of. */
function namespacesInDescriptors(tree: SeenTree): HeldNamespace[] {
  const found = new Map<string, HeldNamespace>();
  for (const { fds } of tree.tasks) {
    for (const file of fds) {
      const behind = namespaceBehind(file);
      if (behind && !found.has(file.link)) found.set(file.link, { ...behind, open: () => copyOf(file.local) });
    }
  }
  return [...found.values()];
}

/** The namespaces that are mounted on files in a mount namespace. */
function mountedNamespaces(tree: SeenTree, places: SeenNamespace): HeldNamespace[] {
  const look = (): MountInfo[] => nsfsMountsIn(tree, places);
  const mounts = tree.frozen ? look() : (unlessGone(look) ?? []);
  const found = new Map<string, HeldNamespace>();
  for (const { root, mountPoint } of mounts) {
    const mounted = namespaceNamed(root);
    if (!mounted || found.has(root)) continue;
    const open = (): Fd => insideSeen('mnt', places, () => openFile(mountPoint, O.RDONLY | O.NONBLOCK | O.NOCTTY));
    // What is mounted over cannot be opened; a FIFO may be there instead, and must not keep us waiting.
    if (isThere(mounted.ino, open)) found.set(root, { ...mounted, open });
  }
  return [...found.values()];
}

function nsfsMountsIn(tree: SeenTree, places: SeenNamespace): MountInfo[] {
  return insideSeen('mnt', places, () => MOUNT_INFOS.of(tree, places.ino)).filter(({ fsType }) => fsType === 'nsfs');
}

function isThere(ino: number, open: () => Fd): boolean {
  try {
    using fd = open();
    return statusOf(fd.number).ino === ino;
  } catch (error) {
    if (error instanceof SyscallError) return false;
    throw error;
  }
}

/** Whether a namespace that the tree keeps is to be carried although no process of the tree is in it. */
export function isCarried(tree: SeenTree, { name, ino }: Pick<HeldNamespace, 'name' | 'ino'>): boolean {
  if (ino === ownInode(name)) return false;
  if (externalName({ name, ino }, tree.options)) return name === 'net';
  return OUTSIDE_KEEPER.of(tree, `${name}:[${ino}]`) === undefined;
}

function copyOf(fd: LocalFd): Fd {
  return duplicate(fd);
}

/**
 * Who keeps a namespace outside of a tree: a mount of the machine, or a process that is in it, has it open, or is in a
 * mount namespace where it is mounted.
 */
export type OutsideKeeper =
  | { readonly path: string }
  | { readonly pid: HostPid; readonly by: 'member' | 'open' | 'mount' };

/** Who keeps a namespace outside of a tree, named as the links of its files do; undefined if nobody does. */
export const OUTSIDE_KEEPER = new KeyedSlot((tree: SeenTree, link: string): OutsideKeeper | undefined => {
  const path = BOUND.of(tree).get(link);
  if (path !== undefined) return { path };
  const name = namespaceNamed(link)?.name ?? '';
  const others = OTHERS.of(tree);
  const member = others.find((pid) => isInside(pid, name, link));
  if (member !== undefined) return { pid: member, by: 'member' };
  const holder = others.find((pid) => holds(pid, link));
  if (holder !== undefined) return { pid: holder, by: 'open' };
  const shown = MOUNTED_ELSEWHERE.of(tree).get(link);
  return shown === undefined ? undefined : { pid: shown, by: 'mount' };
});

/** The processes of the machine that are not of the tree. */
const OTHERS = new Slot((tree: SeenTree): readonly HostPid[] => {
  const own = new Set<number>([process.pid, ...tree.dead, ...tree.tasks.map(({ pid }) => pid)]);
  return allProcesses().filter((pid) => !own.has(pid));
});

/** Whether a process, or a thread of it alone, is in a namespace. */
function isInside(pid: HostPid, name: string, link: string): boolean {
  if (tryReadLink(`/proc/${pid}/ns/${name}`) === link) return true;
  const [, ...threads] = threadsOf(pid);
  return threads.some((tid) => tryReadLink(`/proc/${pid}/task/${tid}/ns/${name}`) === link);
}

/** The namespaces that are mounted on files in mount namespaces of others, each with a process that is there. */
const MOUNTED_ELSEWHERE = new Slot((tree: SeenTree): ReadonlyMap<string, HostPid> => {
  const ofTree = tree.tasks.map(({ pid }) => tryReadLink(`/proc/${pid}/ns/mnt`));
  const seen = new Set<string | number>([`mnt:[${ownInode('mnt')}]`, ...ofTree]);
  const found = new Map<string, HostPid>();
  for (const pid of OTHERS.of(tree)) {
    const places = tryReadLink(`/proc/${pid}/ns/mnt`);
    if (typeof places !== 'string' || seen.has(places)) continue;
    seen.add(places);
    const mounts = unlessGone(() => parseMountInfo(readProc(pid, 'mountinfo'))) ?? [];
    for (const { fsType, root } of mounts) if (fsType === 'nsfs' && !found.has(root)) found.set(root, pid);
  }
  return found;
});

/** Whether a process has a namespace open. One that has ended meanwhile has nothing. */
function holds(pid: HostPid, link: string): boolean {
  const at = `/proc/${pid}/fd`;
  return namesOrNone(at).some((name) => tryReadLink(`${at}/${name}`) === link);
}

function namesOrNone(path: string): readonly string[] {
  try {
    return namesIn(path);
  } catch {
    return [];
  }
}

/** The namespaces that are mounted on files of the machine, as `ip netns add` does, with the paths of these. */
const BOUND = new Slot((_: SeenTree): ReadonlyMap<string, string> => {
  const mounts = parseMountInfo(readProc('self', 'mountinfo')).filter(({ fsType }) => fsType === 'nsfs');
  // What is mounted over does not lead there.
  const leads = ({ root, mountPoint }: MountInfo): boolean => statusAt(mountPoint)?.ino === namespaceNamed(root)?.ino;
  return new Map(mounts.filter(leads).map(({ root, mountPoint }) => [root, mountPoint]));
});
