/** The mounts of a namespace at a dump: what they are, and where the restore will have their contents from. */
import type { CarryOptions, SeenNamespace, SeenTree } from '../../contract/contract.ts';
import { KeyedSlot, Slot } from '../../contract/slots.ts';
import { OUR_NAMESPACE_IDS } from '../../images/namespace-ids.ts';
import { AT, O } from '../../kernel/constants/files.ts';
import { type MountInfo, parseMountInfo } from '../../kernel/proc/mountinfo.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { idMapOf, type MountIdMap } from '../../kernel/statmount.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, Fd, trySyscall } from '../../kernel/syscall.ts';
import { insideSeen, namespaceNamed } from '../inside.ts';
import { MOUNT_INFOS } from '../mount-info.ts';
import { openPlace, PLACES } from '../places.ts';
import { ownInode, SEEN_NAMESPACES } from '../seen.ts';
import { isHidden } from './covers.ts';
import { isRemade, withOtherIds } from './filesystems.ts';
import { deviceOf, isGiven, type Mount, mountOf, type Origin, relativePath } from './mount.ts';

/** The mounts of a namespace. */
export interface SeenMounts {
  readonly mounts: readonly Mount[];
}

/** The mounts of each namespace of a tree. */
export const SEEN_MOUNTS = new KeyedSlot(
  (tree: SeenTree, namespace: SeenNamespace): SeenMounts => lookAtMounts(tree, namespace),
);

/** The mounts of the machine, that is of our own mount namespace. */
const OWN_MOUNTS = new Slot((_: SeenTree): readonly MountInfo[] => parseMountInfo(readProc('self', 'mountinfo')));

/** The same, as mounts. */
export const MACHINE_MOUNTS = new Slot((tree: SeenTree): readonly Mount[] => OWN_MOUNTS.of(tree).map(mountOf));

function lookAtMounts(tree: SeenTree, namespace: SeenNamespace): SeenMounts {
  // The mountinfo of a process shows only what is below its root directory; ours is that of the namespace here.
  const { root, all } = insideSeen('mnt', namespace, () => {
    return { root: openPlace('/'), all: MOUNT_INFOS.of(tree, namespace.ino) };
  });
  tree.atEnd(() => void trySyscall('close', root));
  const infos = withoutSkipped(all, tree.options);
  const own = OWN_MOUNTS.of(tree);
  const outer = SEEN_NAMESPACES.of(tree).others.find(({ name, members: its }) => {
    return name === 'mnt' && its.includes(tree.root);
  });
  const isNested = outer !== undefined && outer !== namespace;
  const around = isNested ? SEEN_MOUNTS.of(tree, outer).mounts : [];
  const maps = idMapsOf(infos, namespace);
  const rootInfo = rootOf(infos);
  const found = infos.map((info) => {
    const mount = withOutside(classify(info, rootInfo, own, tree, isNested), own);
    const idMap = maps.get(info.mountId);
    return idMap ? { ...mount, idMap } : mount;
  });
  const { ids } = tree;
  const mounts = withWholeFileSystems(withoutOuter(found, around)).map((mount) => ({
    ...mount,
    options: withOtherIds(
      mount.options,
      (uid) => ids.uidThere(uid),
      (gid) => ids.gidThere(gid),
    ),
  }));
  const places = PLACES.of(tree);
  for (const mount of mounts) {
    places.set(mount.id, { root, prefix: '/', hides: (path) => isHidden(path, mount, mounts) });
  }
  return { mounts };
}

/** The maps of mounts that have some, by their IDs. */
function idMapsOf(infos: readonly MountInfo[], namespace: SeenNamespace): Map<number, MountIdMap | 'unknown'> {
  const mapped = infos.filter(({ options }) => options.includes('idmapped'));
  if (mapped.length === 0) return new Map();
  return insideSeen('mnt', namespace, () => new Map(mapped.map((info) => [info.mountId, idMapAt(info)])));
}

function idMapAt({ mountId, mountPoint }: MountInfo): MountIdMap | 'unknown' {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(mountPoint), O.PATH | O.NOFOLLOW | O.CLOEXEC);
  if (fd < 0) return 'unknown';
  using opened = new Fd(fd);
  const map = statusOf(opened.number).mntId === mountId ? idMapOf(opened.number) : undefined;
  return typeof map === 'object' ? map : 'unknown';
}

/** Without the mounts that the user leaves out (`--skip-mnt`), and what is mounted below them. */
function withoutSkipped(infos: readonly MountInfo[], { skipMounts }: CarryOptions): readonly MountInfo[] {
  if (skipMounts.length === 0) return infos;
  const skipped = new Set<number>();
  for (const info of infos) if (skipMounts.includes(info.mountPoint)) skipped.add(info.mountId);
  for (let before = -1; before !== skipped.size; ) {
    before = skipped.size;
    for (const info of infos) if (skipped.has(info.parentId)) skipped.add(info.mountId);
  }
  return infos.filter(({ mountId }) => !skipped.has(mountId));
}

function classify(
  info: MountInfo,
  root: MountInfo | undefined,
  own: readonly MountInfo[],
  tree: SeenTree,
  isNested: boolean,
): Mount {
  const { options } = tree;
  const mount = mountOf(info);
  const isRoot = info === root;
  const key = !isNested && !isRoot ? mountKey(options, mount.mountPoint) : undefined;
  if (key !== undefined) return { ...mount, origin: { kind: 'user', key } };
  const device = options.external.flatMap((text) => {
    const { devMajor, devMinor } = info;
    const prefix = `dev[${devMajor}/${devMinor}]:`;
    return text.startsWith(prefix) ? [text.slice(prefix.length)] : [];
  })[0];
  if (device !== undefined && !isRoot) return { ...mount, origin: { kind: 'device', key: device } };
  const origin = mount.fsType === 'nsfs' ? namespaceOn(mount, tree) : undefined;
  if (origin) return { ...mount, origin };
  const isRootOfTree = isRoot && !isNested;
  // Of a part of the root's file system nobody asks where the machine has it.
  if (!isRootOfTree && isPartOf(root, mount)) return mount;
  const path = pathOnMachine(mount, own);
  if (isRootOfTree) {
    if (path === undefined && options.root === undefined && isRemade(mount, options.enableFs)) return mount;
    return { ...mount, origin: { kind: 'root', path } };
  }
  if (path === undefined) return mount;
  return { ...mount, origin: { kind: 'machine', path } };
}

/** The namespace that is mounted on a file, if that is one of ours or is carried. */
function namespaceOn({ root }: Mount, tree: SeenTree): Origin | undefined {
  const { name, ino } = namespaceNamed(root) ?? {};
  if (name === undefined || ino === undefined) return undefined;
  const id = ino === ownInode(name) ? OUR_NAMESPACE_IDS[name] : SEEN_NAMESPACES.of(tree).withInode(name, ino)?.id;
  return id === undefined ? undefined : { kind: 'namespace', name, id };
}

/** In a nested namespace what the outer one has from outside comes from there: `--root` may have moved it. */
function withoutOuter(mounts: readonly Mount[], outer: readonly Mount[]): Mount[] {
  return mounts.map((mount) => {
    return mount.origin?.kind === 'machine' && isGiven(mount, outer) ? { ...mount, origin: undefined } : mount;
  });
}

/**
 * A file system comes from the machine as a whole or not at all: if the machine shows only parts of it, it is made
 * again.
 */
function withWholeFileSystems(mounts: readonly Mount[]): Mount[] {
  const given = mounts.filter(({ origin }) => origin?.kind === 'machine');
  const isPartial = (mount: Mount): boolean =>
    mount.fsType !== 'nsfs' && given.some(({ dev }) => dev === mount.dev) && !isGiven(mount, mounts);
  const partial = new Set(mounts.filter(isPartial).map(({ dev }) => dev));
  return mounts.map((mount) => {
    return mount.origin?.kind === 'machine' && partial.has(mount.dev) ? { ...mount, origin: undefined } : mount;
  });
}

/** The name that the user has for a mount: `--external mnt[PATH]:NAME`, `--ext-mount-map PATH:NAME`. */
function mountKey({ external, extMountMap }: CarryOptions, mountPoint: string): string | undefined {
  const prefix = `mnt[${mountPoint}]`;
  for (const text of external) {
    if (text === prefix) return mountPoint;
    if (text.startsWith(`${prefix}:`)) return text.slice(prefix.length + 1);
  }
  return extMountMap.get(mountPoint);
}

/** The mount at / of a namespace that is on no other one; undefined if none is seen. */
function rootOf(infos: readonly MountInfo[]): MountInfo | undefined {
  const ids = new Set(infos.map(({ mountId }) => mountId));
  return infos.find(({ mountPoint, parentId }) => mountPoint === '/' && !ids.has(parentId));
}

/** Whether a mount is a part of the file system that the root of the namespace is on. */
function isPartOf(root: MountInfo | undefined, mount: Mount): boolean {
  return root !== undefined && deviceOf(root) === mount.dev && relativePath(root.root, mount.root) !== undefined;
}

/**
 * A path on the machine that leads to the root of a mount; undefined if its file system is not mounted there, or what
 * is mounted there is covered.
 */
function pathOnMachine(mount: Mount, own: readonly MountInfo[]): string | undefined {
  if (mount.deleted) return undefined;
  const candidates = own
    .filter((info) => deviceOf(info) === mount.dev && !info.rootDeleted)
    .flatMap((info) => {
      const below = relativePath(info.root, mount.root);
      if (below === undefined) return [];
      const path = below === '' ? info.mountPoint : `${info.mountPoint === '/' ? '' : info.mountPoint}/${below}`;
      return [{ path, info, same: path === mount.mountPoint }];
    })
    .sort((a, b) => Number(b.same) - Number(a.same) || b.info.root.length - a.info.root.length);
  return candidates.find(({ path, info }) => isThere(path, info.mountId))?.path;
}

/** Whether a path leads to a mount of ours. */
function isThere(path: string, mountId: number): boolean {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.NOFOLLOW | O.CLOEXEC);
  if (fd < 0) return false;
  using opened = new Fd(fd);
  const { mntId } = statusOf(opened.number);
  return mntId === 0 || mntId === mountId;
}

/**
 * Finds out whether a mount is in a peer group of the machine, or a slave of one. The master need not be on the
 * machine, if one of its mounts is a slave of the same.
 */
function withOutside(mount: Mount, own: readonly MountInfo[]): Mount {
  const pathOf = (is: (info: MountInfo) => boolean): string | undefined =>
    own.find((info) => is(info) && isThere(info.mountPoint, info.mountId))?.mountPoint;
  const peer = mount.shared === 0 ? undefined : pathOf(({ shared }) => shared === mount.shared);
  if (peer !== undefined) return { ...mount, outside: { as: 'peer', path: peer } };
  if (mount.master === 0) return mount;
  const master =
    pathOf(({ shared }) => shared === mount.master) ??
    pathOf(({ shared, master: its, devMajor, devMinor, root }) => {
      const dev = ((devMajor << 20) | devMinor) >>> 0;
      return (
        shared === undefined &&
        its === mount.master &&
        dev === mount.dev &&
        relativePath(root, mount.root) !== undefined
      );
    });
  return master === undefined ? mount : { ...mount, outside: { as: 'slave', path: master } };
}

/** The mounts of the other namespaces of a tree. */
export function otherMounts(tree: SeenTree, namespace: SeenNamespace): Mount[] {
  return SEEN_NAMESPACES.of(tree)
    .others.filter((other) => other.name === 'mnt' && other !== namespace)
    .flatMap((other) => SEEN_MOUNTS.of(tree, other).mounts);
}
