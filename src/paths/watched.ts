/**
 * Watched files, for inotify and fanotify. The kernel identifies a watched file by device, inode and file handle.
 * Images hold a path as well, since inodes change when file systems are copied.
 */

import type { HostPid, LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { KeyedSlot, Slot } from '../contract/slots.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import type { InputOf } from '../images/message.ts';
import type { FhEntry, fhEntry } from '../images/schema/events.ts';
import { RemapType } from '../images/schema/files.ts';
import { AT, O, POLL } from '../kernel/constants/files.ts';
import { duplicate } from '../kernel/files.ts';
import { eventsOf } from '../kernel/poll.ts';
import type { FileHandle } from '../kernel/proc/fddetail.ts';
import { type MountInfo, parseMountInfo } from '../kernel/proc/mountinfo.ts';
import { readProc, readProcLink } from '../kernel/proc/read.ts';
import { statusOf } from '../kernel/statx.ts';
import { arena, arenaAddress, arenaPath, arenaView, Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { PLACES, type PlaceIfAny, placeOfEntry, statusIn, tryOpenAt } from '../namespaces/places.ts';
import { SEEN_NAMESPACES } from '../namespaces/seen.ts';
import { fileObstacle } from '../support/fdinfo.ts';
import { GhostImage } from './ghost/image.ts';
import { searchInode } from './irmap.ts';
import { remapsOf } from './remap.ts';

/** Words of the `handle` field, as CRIU always writes them. */
const HANDLE_WORDS = 16;

/** A watched inode; `dev` as fdinfo has it, major << 20 | minor. */
export interface Watched {
  readonly dev: number;
  readonly ino: bigint;
  readonly handle: FileHandle;
}

/** Mounts of a task, by device. */
export type Mounts = readonly MountInfo[];

/** The mounts in a task's mount namespace. @throws StasisError (gone) */
export function mountsOf(pid: HostPid | 'self'): Mounts {
  return parseMountInfo(readProc(pid, 'mountinfo'));
}

/**
 * The fh_entry of a watched inode, with a path that leads to it. The path is missing if the file was unlinked and is
 * held open; the restore then has to find it among the ghosts, or by its handle. Undefined if the file can be found
 * neither by handle nor by a search.
 */
export function describeWatched(watched: Watched, pid: HostPid, tree: SeenTree): InputOf<typeof fhEntry> | undefined {
  for (const [viewer, mount] of mountsSeenBy(pid, watched.dev, tree)) {
    using found = openByHandle(`/proc/${viewer}/root${mount.mountPoint}`, watched);
    if (!found) continue;
    const path = readProcLink('self', `fd/${found.number}`);
    const { mntId } = statusOf(found.number);
    const place = PLACES.of(tree).get(mntId);
    const there = path.startsWith('/') ? statusIn(place, path) : undefined;
    const leads = there?.dev === watched.dev && BigInt(there.ino) === watched.ino;
    if (leads) return { ...handleMessage(watched.handle), path, ...(place ? { mnt_id: mntId } : {}) };
    if (!tree.options.forceIrmap) return handleMessage(watched.handle);
    break;
  }
  const path = searchInode(watched.dev, watched.ino, tree.options.irmapScanPaths);
  return path === undefined ? undefined : { ...handleMessage(watched.handle), path };
}

/**
 * The mounts of a device, first as the process sees them that watches something there; it may have come to it through
 * the /proc/PID/root of another, in a mount namespace that does not show it to this one.
 */
function* mountsSeenBy(pid: HostPid, dev: number, tree: SeenTree): Generator<readonly [HostPid, MountInfo]> {
  for (const mount of MOUNTS.of(tree, pid)) if (isOn(mount, dev)) yield [pid, mount];
  for (const { name, members } of SEEN_NAMESPACES.of(tree).others) {
    const [other] = members;
    if (name !== 'mnt' || !other || members.some((member) => member.pid === pid)) continue;
    for (const mount of MOUNTS.of(tree, other.pid)) if (isOn(mount, dev)) yield [other.pid, mount];
  }
}

const isOn = (mount: MountInfo, dev: number): boolean => mount.devMajor * 2 ** 20 + mount.devMinor === dev;

/** Opens an inode by its handle through a mount of its file system; undefined if that fails. */
function openByHandle(mountPoint: string, watched: Watched): Fd | undefined {
  const at = trySyscall('openat', AT.FDCWD, arenaPath(mountPoint), O.RDONLY | O.DIRECTORY | O.CLOEXEC | O.NONBLOCK);
  if (at < 0) return undefined; // a file is mounted there, or the mount is gone
  using mount = new Fd(at);
  if (statusOf(mount.number).dev !== watched.dev) return undefined; // another file system was mounted over it
  const { type, bytes } = watched.handle;
  arenaView.setUint32(0, bytes.length, true);
  arenaView.setInt32(4, type, true);
  arena.set(bytes, 8);
  const fd = trySyscall('open_by_handle_at', mount.number, arenaAddress, O.PATH | O.CLOEXEC);
  return fd < 0 ? undefined : new Fd(fd);
}

/** A file handle in the form of images: little-endian words of eight bytes. */
export function handleMessage(handle: FileHandle): InputOf<typeof fhEntry> {
  const padded = new Uint8Array(8 * HANDLE_WORDS);
  padded.set(handle.bytes.subarray(0, padded.length));
  const view = new DataView(padded.buffer);
  const words = Array.from({ length: HANDLE_WORDS }, (_, i) => view.getBigUint64(8 * i, true));
  return { bytes: handle.bytes.length, type: handle.type, handle: words };
}

/** The inverse of {@link handleMessage}. */
export function handleOf(entry: FhEntry): FileHandle {
  const padded = new Uint8Array(8 * entry.handle.length);
  const view = new DataView(padded.buffer);
  entry.handle.forEach((word, i) => {
    view.setBigUint64(8 * i, word, true);
  });
  return { type: entry.type, bytes: padded.slice(0, entry.bytes) };
}

/** The error for a watch for which {@link describeWatched} returns undefined. */
export function unreachable(file: OpenFile, ino: bigint): StasisError {
  const reason = `it watches inode ${ino}, whose file system does not let it be found again`;
  return fileObstacle(file, 'WATCH_UNREACHABLE', reason);
}

/**
 * Opens the watched file (O_PATH): through its ghost if it was unlinked, else by its path, else by its handle.
 * @throws StasisError (conflict) if it cannot be found
 */
export function openWatched(entry: FhEntry, dev: number, ino: bigint, context: RestoreContext): Fd {
  const ghost = GHOSTS.of(context).get(`${dev}:${ino}`);
  if (ghost !== undefined) return duplicate(context.open(ghost));
  if (entry.path !== undefined && entry.path !== '') return openWatchedPath(entry.path, placeOfEntry(entry, context));
  const watched = { dev, ino, handle: handleOf(entry) };
  for (const mount of OWN_MOUNTS.of(context)) {
    const fd = isOn(mount, dev) ? openByHandle(mount.mountPoint, watched) : undefined;
    if (fd) return fd;
  }
  const reason = 'a file that was watched cannot be found, neither by a path nor by its handle';
  throw new StasisError({
    kind: 'conflict',
    code: 'WATCH_CHANGED',
    resource: `inode ${ino} of device ${dev >>> 20}:${dev & 0xfffff}`,
    reason,
  });
}

/**
 * Opens the path of a watched file or mount. Paths that the kernel gives contain no symbolic links, so a link at the
 * end is itself what is watched.
 */
export function openWatchedPath(path: string, place?: PlaceIfAny): Fd {
  const fd = tryOpenAt(place, path, O.PATH | O.NOFOLLOW);
  if (fd >= 0) return new Fd(fd);
  throw new SyscallError('openat', -fd, { resource: path, remedy: 'put back what was watched there' });
}

/** The mounts of each process of a tree, by PID. */
export const MOUNTS = new KeyedSlot((_: SeenTree, pid: HostPid) => mountsOf(pid));

/** Our own mounts. */
const OWN_MOUNTS = new Slot((_: RestoreContext) => mountsOf('self'));

/** Ids in files.img of deleted files that come back as ghosts, by device and inode. */
const GHOSTS = new Slot((context: RestoreContext) => {
  const ghosts = new Map<string, number>();
  for (const [id, { remap_type: type, remap_id: ghost }] of remapsOf(context)) {
    if (type !== RemapType.GHOST || !context.fileEntries.has(id)) continue;
    using image = new GhostImage(context.images.path(Images.ghostFile, ghost), imageName(Images.ghostFile, ghost));
    ghosts.set(`${image.head.dev}:${image.head.ino}`, id);
  }
  return ghosts;
});

/** Whether unread events are queued. They are lost, as with CRIU. */
export function hasEvents(local: LocalFd): boolean {
  return eventsOf(local, POLL.IN) !== 0;
}
