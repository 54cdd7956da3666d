/** A mount of a mount namespace, in the form of its image and of what Stasis tells of it besides. Pure. */
import type { InputOf } from '../../images/message.ts';
import type { NamespaceName } from '../../images/namespace-ids.ts';
import { Fstype, type MntEntry, type mntEntry } from '../../images/schema/mounts.ts';
import { MOUNT_ATTR, MS } from '../../kernel/constants/mounts.ts';
import type { MountInfo } from '../../kernel/proc/mountinfo.ts';
import type { MountIdMap } from '../../kernel/statmount.ts';
import type { MountNote } from './notes.ts';

/**
 * Where the contents of a mount come from at the restore, if not from a file system that is made again or from a wider
 * mount of the same one. `user`: the user names it (`--external mnt[…]:KEY`). `device`: the user names a block device
 * (`--external dev[…]:KEY`). `machine`: this path on the machine, where the same file system is mounted. `root`: the
 * root directory of the namespace, which `--root` names; without that option it is `path`, if there is one.
 * `namespace`: a namespace, by its ID in the images (`mount --bind /proc/PID/ns/net FILE`).
 */
export type Origin =
  | { readonly kind: 'user'; readonly key: string }
  | { readonly kind: 'device'; readonly key: string }
  | { readonly kind: 'machine'; readonly path: string }
  | { readonly kind: 'root'; readonly path: string | undefined }
  | { readonly kind: 'namespace'; readonly name: NamespaceName; readonly id: number };

/** A peer group of the machine: a mount that is in it. */
export interface OutsideGroup {
  readonly as: 'peer' | 'slave';
  readonly path: string;
}

/** One mount. */
export interface Mount {
  readonly id: number;
  readonly parent: number;
  /** The file system, by its device number: major << 20 | minor. */
  readonly dev: number;
  /** The path inside the file system that is the root of the mount. */
  readonly root: string;
  /** The root was removed. */
  readonly deleted: boolean;
  /** The path in the namespace. */
  readonly mountPoint: string;
  /** MS_* flags of the mount, without those of propagation. */
  readonly flags: number;
  readonly unbindable: boolean;
  /** MS_* flags of the file system. */
  readonly superFlags: number;
  readonly fsType: string;
  readonly source: string;
  readonly options: string;
  /** Its peer group, and the one it is a slave of; 0 for none. */
  readonly shared: number;
  readonly master: number;
  readonly origin: Origin | undefined;
  /** Its peer group, or the one it is a slave of, if that is one of the machine. */
  readonly outside: OutsideGroup | undefined;
  /** Nobody may unmount it in the user namespace that its mount namespace belongs to, or take attributes from it. */
  readonly isLocked?: boolean;
  /** The owners that it shows in place of those of its file system; `unknown` where the kernel does not tell. */
  readonly idMap?: MountIdMap | 'unknown';
}

const MOUNT_FLAGS: Readonly<Record<string, number>> = {
  ro: MS.RDONLY,
  nosuid: MS.NOSUID,
  nodev: MS.NODEV,
  noexec: MS.NOEXEC,
  noatime: MS.NOATIME,
  nodiratime: MS.NODIRATIME,
  relatime: MS.RELATIME,
  nosymfollow: MS.NOSYMFOLLOW,
};

const SUPER_FLAGS: Readonly<Record<string, number>> = {
  ro: MS.RDONLY,
  sync: MS.SYNCHRONOUS,
  dirsync: MS.DIRSYNC,
  mand: MS.MANDLOCK,
  lazytime: MS.LAZYTIME,
};

/** A mount as the kernel shows it, without what only a comparison with other mounts tells. */
export function mountOf(info: MountInfo): Mount {
  const flags = info.options.reduce((sum, option) => sum | (MOUNT_FLAGS[option] ?? 0), 0);
  const { superFlags, options } = splitOptions(info.superOptions);
  return {
    id: info.mountId,
    parent: info.parentId,
    dev: deviceOf(info),
    root: info.root,
    deleted: info.rootDeleted,
    mountPoint: info.mountPoint,
    flags: (flags & (MS.RELATIME | MS.NOATIME)) === 0 ? flags | MS.STRICTATIME : flags,
    unbindable: info.unbindable,
    superFlags,
    fsType: info.fsType,
    source: info.source,
    options,
    shared: info.shared ?? 0,
    master: info.master ?? 0,
    origin: undefined,
    outside: undefined,
  };
}

/** The device number of a mount's file system, major << 20 | minor. */
export function deviceOf({ devMajor, devMinor }: MountInfo): number {
  return ((devMajor << 20) | devMinor) >>> 0;
}

function splitOptions(text: string): { superFlags: number; options: string } {
  const rest: string[] = [];
  let superFlags = 0;
  for (const option of text.split(',')) {
    if (option === 'rw') continue;
    const flag = SUPER_FLAGS[option];
    if (flag === undefined) rest.push(option);
    else superFlags |= flag;
  }
  return { superFlags, options: rest.join(',') };
}

/** The type of a file system in images, by its name. */
const TYPES: Readonly<Record<string, number>> = {
  proc: Fstype.PROC,
  sysfs: Fstype.SYSFS,
  devtmpfs: Fstype.DEVTMPFS,
  binfmt_misc: Fstype.BINFMT_MISC,
  tmpfs: Fstype.TMPFS,
  devpts: Fstype.DEVPTS,
  simfs: Fstype.SIMFS,
  pstore: Fstype.PSTORE,
  securityfs: Fstype.SECURITYFS,
  fusectl: Fstype.FUSECTL,
  debugfs: Fstype.DEBUGFS,
  cgroup: Fstype.CGROUP,
  aufs: Fstype.AUFS,
  mqueue: Fstype.MQUEUE,
  fuse: Fstype.FUSE,
  overlay: Fstype.OVERLAYFS,
  autofs: Fstype.AUTOFS,
  tracefs: Fstype.TRACEFS,
  cgroup2: Fstype.CGROUP2,
};

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(TYPES).map(([name, type]) => [type, name]));

/** How CRIU marks mounts that it has found on the machine by itself, and those of block devices. */
const AUTOMATIC = 'CRIU:AUTOGENERATED';
const DEVICE = 'CRIU:EXTERNAL_DEV';
/** What images of CRIU have for the root of a mount that the user provides, in an older form. */
const DEVICE_SOURCE = /^dev\[(.*)\]$/;

/** The entry of a mount in `mountpoints-N.img`. */
export function entryOf(mount: Mount): InputOf<typeof mntEntry> {
  const { origin } = mount;
  const propagation =
    (mount.shared !== 0 ? MS.SHARED : 0) | (mount.master !== 0 ? MS.SLAVE : 0) | (mount.unbindable ? MS.UNBINDABLE : 0);
  const known = origin?.kind === 'device' ? undefined : TYPES[mount.fsType.replace(/\..*$/, '')];
  const remade = known === undefined && (origin?.kind === 'device' || origin === undefined);
  return {
    fstype: known ?? (remade ? Fstype.AUTO : Fstype.UNSUPPORTED),
    fsname: remade ? mount.fsType : undefined,
    mnt_id: mount.id,
    root_dev: mount.dev,
    parent_mnt_id: mount.parent,
    flags: mount.flags | propagation,
    sb_flags: mount.superFlags,
    root: mount.root,
    mountpoint: mount.mountPoint,
    source: sourceOf(mount),
    options: mount.options,
    shared_id: mount.shared,
    master_id: mount.master,
    deleted: mount.deleted ? true : undefined,
    internal_sharing:
      origin?.kind === 'machine' && mount.shared !== 0 && mount.outside?.as !== 'peer' ? true : undefined,
    ext_key: keyOf(origin),
  };
}

function sourceOf({ origin, source }: Mount): string {
  if (origin?.kind === 'machine') return origin.path;
  return origin?.kind === 'device' ? `dev[${origin.key}]` : source;
}

function keyOf(origin: Origin | undefined): string | undefined {
  switch (origin?.kind) {
    case 'user':
      return origin.key;
    case 'device':
      return DEVICE;
    case 'machine':
      return AUTOMATIC;
    default:
      return undefined;
  }
}

const PROPAGATION = MS.SHARED | MS.SLAVE | MS.UNBINDABLE | MS.PRIVATE | MS.REC;

/** The mount of an entry, with what Stasis has noted of it; `criu` notes nothing. */
export function mountFromEntry(entry: MntEntry, note: MountNote | undefined): Mount {
  const origin = originFrom(entry, note);
  const shared = entry.shared_id ?? 0;
  const master = entry.master_id ?? 0;
  return {
    id: entry.mnt_id,
    parent: entry.parent_mnt_id,
    dev: entry.root_dev,
    root: entry.root,
    deleted: entry.deleted ?? false,
    mountPoint: entry.mountpoint,
    flags: (entry.flags & ~PROPAGATION) | (note?.flags ?? 0),
    unbindable: (entry.flags & MS.UNBINDABLE) !== 0,
    superFlags: entry.sb_flags ?? 0,
    fsType: note?.namespace ? 'nsfs' : (entry.fsname ?? NAMES.get(entry.fstype) ?? ''),
    source: entry.source,
    options: entry.options,
    shared,
    master,
    origin,
    outside: note?.outside ?? outsideOf(entry, shared, master),
    ...(note?.locked ? { isLocked: true } : {}),
    ...(note?.idMap ? { idMap: note.idMap } : {}),
  };
}

/** Of mounts that CRIU has found on the machine it notes the groups that end at the tree. */
function outsideOf(entry: MntEntry, shared: number, master: number): OutsideGroup | undefined {
  if (entry.ext_key !== AUTOMATIC) return undefined;
  if (shared !== 0 && !entry.internal_sharing) return { as: 'peer', path: entry.source };
  return master !== 0 ? { as: 'slave', path: entry.source } : undefined;
}

function originFrom(entry: MntEntry, note: MountNote | undefined): Origin | undefined {
  if (note?.namespace) return { kind: 'namespace', ...note.namespace };
  if (entry.mountpoint === '/' && entry.ext_key === undefined && (note === undefined || note.root !== undefined)) {
    const path = note?.root;
    return { kind: 'root', path: path === '' ? undefined : path };
  }
  switch (entry.ext_key) {
    case undefined:
      return entry.ext_mount ? { kind: 'user', key: entry.root } : undefined;
    case AUTOMATIC:
      return { kind: 'machine', path: entry.source };
    case DEVICE:
      return { kind: 'device', key: DEVICE_SOURCE.exec(entry.source)?.[1] ?? entry.source };
    default:
      return { kind: 'user', key: entry.ext_key };
  }
}

/** The attributes of a mount for the new calls, without whether it is read-only. */
export function attributesOf({ flags }: Mount): number {
  const atime =
    (flags & MS.NOATIME) !== 0
      ? MOUNT_ATTR.NOATIME
      : (flags & MS.STRICTATIME) !== 0
        ? MOUNT_ATTR.STRICTATIME
        : MOUNT_ATTR.RELATIME;
  return (
    atime |
    ((flags & MS.NOSUID) !== 0 ? MOUNT_ATTR.NOSUID : 0) |
    ((flags & MS.NODEV) !== 0 ? MOUNT_ATTR.NODEV : 0) |
    ((flags & MS.NOEXEC) !== 0 ? MOUNT_ATTR.NOEXEC : 0) |
    ((flags & MS.NODIRATIME) !== 0 ? MOUNT_ATTR.NODIRATIME : 0) |
    ((flags & MS.NOSYMFOLLOW) !== 0 ? MOUNT_ATTR.NOSYMFOLLOW : 0)
  );
}

/** All attributes that {@link attributesOf} decides, and whether the mount is read-only. */
export const ALL_ATTRIBUTES =
  MOUNT_ATTR.RDONLY |
  MOUNT_ATTR.NOSUID |
  MOUNT_ATTR.NODEV |
  MOUNT_ATTR.NOEXEC |
  MOUNT_ATTR.ATIME_MASK |
  MOUNT_ATTR.NODIRATIME |
  MOUNT_ATTR.NOSYMFOLLOW;

/** The path of `inner` relative to `outer`, without a slash at its begin; undefined if it is not below. */
export function relativePath(outer: string, inner: string): string | undefined {
  if (inner === outer) return '';
  const prefix = outer.endsWith('/') ? outer : `${outer}/`;
  return inner.startsWith(prefix) ? inner.slice(prefix.length) : undefined;
}

/** How errors name a mount. */
export function nameOf({ id, mountPoint }: Mount): string {
  return `mount ${id} at ${mountPoint}`;
}

/** Whether the root of a mount is part of what one of the mounts has from outside. */
export function isGiven(mount: Mount, mounts: readonly Mount[]): boolean {
  return mounts.some(({ dev, root, origin }) => {
    return origin !== undefined && dev === mount.dev && relativePath(root, mount.root) !== undefined;
  });
}
