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
  return entry.mnt_id === undefined ? undefined : PLACES.of(context).get(entry.mnt_id);
}

/** The part of a path that is below a place. */
function below({ prefix }: Place, path: string): string {
  return prefix !== '/' && path.startsWith(prefix) ? path.slice(prefix.length) : path;
}

/** Opens a path. Returns a descriptor or -errno. */
export function tryOpenAt(place: PlaceIfAny, path: string, flags: number, mode = 0): number {
  if (!place) return trySyscall('openat', AT.FDCWD, arenaPath(path), flags | O.CLOEXEC, mode);
  const rest = below(place, path);
  if (rest !== '' && rest !== '/') return tryOpenInRoot(place.root, rest, flags, mode);
  // openat2(2) opens no file below a file, and no empty path.
  return trySyscall('openat', AT.FDCWD, arenaPath(`/proc/self/fd/${place.root}`), (flags & ~O.NOFOLLOW) | O.CLOEXEC);
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
