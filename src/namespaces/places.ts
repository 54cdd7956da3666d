/**
 * Places: where a path begins. A path of a task in a mount namespace other than that of Stasis begins at the root of
 * that namespace, or at the mount that the file is on. It is looked up there with openat2(2) and RESOLVE_IN_ROOT, so
 * that no symbolic link of a container leads out of it. Paths of tasks in our own mount namespace have no place: they
 * are looked up as they are.
 */
import { type LocalFd, localFd } from '../base/brands.ts';
import type { OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { type HasSlots, Slot } from '../contract/slots.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { tryOpenInRoot } from '../kernel/mounts.ts';
import { type FileStatus, statusAt, statusOf } from '../kernel/statx.ts';
import { arenaPath, ERRNO, Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';

/** Where a path begins. */
export interface Place {
  /** A descriptor of the directory (or of the file that is mounted). */
  readonly root: LocalFd;
  /** The path of that directory in its namespace, which paths begin with. */
  readonly prefix: string;
  /**
   * At a restore: a descriptor of the same directory by way of a mount that shows more of its file system, and is the
   * same one for all places of it; undefined if there is none.
   */
  readonly wide?: () => LocalFd | undefined;
  /** At a restore: whether nothing can be made there, except by way of {@link wide}. */
  readonly isReadOnly?: boolean;
  /** At a restore: what is mounted over on this mount, by its path in the namespace, with a descriptor of it. */
  readonly covered?: readonly Covered[];
  /** At a dump: whether a path on this mount leads to something else, because of what is mounted over it. */
  readonly hides?: (path: string) => boolean;
}

/** A place for making something that is to be seen at another one; that itself, unless it is read-only. */
export function writablePlace(place: PlaceIfAny): PlaceIfAny {
  const root = place?.isReadOnly ? place.wide?.() : undefined;
  return place && root !== undefined ? { root, prefix: place.prefix } : place;
}

/** A file or directory that is mounted over. */
export interface Covered {
  readonly path: string;
  readonly fd: LocalFd;
}

/** Paths that begin where those of Stasis do. */
export type PlaceIfAny = Place | undefined;

/** The places of the mounts of a tree that are not in our mount namespace, by mount ID. Filled by the kind `mnt`. */
export const PLACES = new Slot((_: HasSlots) => new Map<number, Place>());

/** The place of an open file at the dump. */
export function placeOf(file: OpenFile, tree: SeenTree): PlaceIfAny {
  return PLACES.of(tree).get(file.mntId);
}

/** The place of a file of an image, at the restore. */
export function placeOfEntry(entry: { readonly mnt_id?: number | undefined }, context: RestoreContext): PlaceIfAny {
  const own = entry.mnt_id === undefined ? undefined : PLACES.of(context).get(entry.mnt_id);
  return own ?? GIVEN_PLACE.of(context).place;
}

/** Where paths begin in a tree that is restored into a mount namespace which exists (`--join-ns mnt:…`). */
export const GIVEN_PLACE = new Slot((_: RestoreContext): { place?: Place } => ({}));

/**
 * Places for making links from one to the other, which linkat(2) does on one mount only. Undefined where one of them
 * has none, or nothing else is needed than the places themselves.
 */
export function widePlaces(one: PlaceIfAny, other: PlaceIfAny): readonly [Place, Place] | undefined {
  const [from, to] = one === other && !one?.isReadOnly ? [] : [one?.wide?.(), other?.wide?.()];
  if (!one || !other || from === undefined || to === undefined) return undefined;
  return [
    { root: from, prefix: one.prefix },
    { root: to, prefix: other.prefix },
  ];
}

/** Where a path on the mount of a place begins, and the part of it that is below. */
function beginningOf({ root, prefix, covered = [] }: Place, path: string): { root: LocalFd; rest: string } {
  const isOn = (at: string): boolean => path.startsWith(at) && (path.length === at.length || path[at.length] === '/');
  const over = covered.filter((one) => isOn(one.path)).sort((a, b) => b.path.length - a.path.length)[0];
  if (over) return { root: over.fd, rest: path.slice(over.path.length) };
  return { root, rest: prefix !== '/' && path.startsWith(prefix) ? path.slice(prefix.length) : path };
}

/** Opens a path. Returns a descriptor or -errno. */
export function tryOpenAt(place: PlaceIfAny, path: string, flags: number, mode = 0): number {
  if (!place) return trySyscall('openat', AT.FDCWD, arenaPath(path), flags | O.CLOEXEC, mode);
  const { root, rest } = beginningOf(place, path);
  if (rest !== '' && rest !== '/') return tryOpenInRoot(root, rest, flags, mode);
  // openat2(2) opens no file below a file, and no empty path.
  return trySyscall('openat', AT.FDCWD, arenaPath(`/proc/self/fd/${root}`), (flags & ~O.NOFOLLOW) | O.CLOEXEC);
}

/** The file at a path, a symbolic link itself; undefined if there is none. @throws SyscallError for other reasons */
export function statusIn(place: PlaceIfAny, path: string): FileStatus | undefined {
  if (!place) return statusAt(path);
  const opened = tryOpenAt(place, path, O.PATH | O.NOFOLLOW);
  if (opened === -ERRNO.ENOENT || opened === -ERRNO.ENOTDIR) return undefined;
  if (opened < 0) throw new SyscallError('openat2', -opened, { resource: path });
  using fd = new Fd(opened);
  return statusOf(fd.number);
}

/**
 * Calls `work` with a path that leads to a file of a place from where Stasis is: the directory of the file is opened,
 * and the name follows it. Nothing but that last name may be a symbolic link. For files that calls other than openat2
 * are to name.
 */
export function withPathAt<T>(place: PlaceIfAny, path: string, work: (path: string) => T): T {
  if (!place) return work(path);
  const slash = path.lastIndexOf('/');
  const name = path.slice(slash + 1);
  const directory = path.slice(0, slash) || '/';
  const opened = tryOpenAt(place, directory, O.PATH | O.DIRECTORY);
  if (opened < 0) throw new SyscallError('openat2', -opened, { resource: directory });
  using fd = new Fd(opened);
  return work(name === '' ? `/proc/self/fd/${fd.number}` : `/proc/self/fd/${fd.number}/${name}`);
}

/** As {@link withPathAt}, for a call that returns a value or -errno, as this does where the directory is not there. */
export function tryPathAt(place: PlaceIfAny, path: string, call: (path: string) => number): number {
  if (!place) return call(path);
  try {
    return withPathAt(place, path, call);
  } catch (error) {
    if (error instanceof SyscallError && error.call === 'openat2') return -error.errno;
    throw error;
  }
}

/**
 * A path of Stasis that leads to a path of a place until the restore ends, by way of the nearest directory above that
 * exists.
 */
export function ownPath(place: PlaceIfAny, path: string, context: RestoreContext): string {
  if (!place) return path;
  for (let end = path.lastIndexOf('/'); end >= 0; end = path.lastIndexOf('/', end - 1)) {
    const opened = tryOpenAt(place, path.slice(0, end) || '/', O.PATH | O.DIRECTORY);
    if (opened < 0 && end > 0) continue;
    if (opened < 0) throw new SyscallError('openat2', -opened, { resource: path });
    context.atEnd(() => void trySyscall('close', opened));
    return `/proc/self/fd/${opened}${path.slice(end)}`;
  }
  return path;
}

/** Opens the directory of a place. @throws SyscallError */
export function openPlace(path: string): LocalFd {
  const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.PATH | O.CLOEXEC);
  if (opened < 0) throw new SyscallError('openat', -opened, { resource: path });
  return localFd(opened);
}
