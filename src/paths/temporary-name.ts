/** Names that files have only until they have been opened by them. */
import { AT } from '../kernel/constants/files.ts';
import { arenaPath, ERRNO, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { type PlaceIfAny, tryPathAt, withPathAt } from '../namespaces/places.ts';

/**
 * Calls `work` while a file is at `path`, or next to it if that name is taken. `make` puts the file there and returns 0
 * or -errno, `remove` removes it. Missing directories are made for that time. The paths they are called with are ones
 * of Stasis, wherever the place is.
 */
export function withTemporaryName<T>(
  path: string,
  make: (path: string) => number,
  remove: (path: string) => void,
  work: (path: string) => T,
  place?: PlaceIfAny,
): T {
  return withDirectory(
    path.slice(0, path.lastIndexOf('/')),
    () =>
      withPathAt(place, path, (at) => {
        const there = makeSomewhere(at, make);
        try {
          return work(there);
        } finally {
          remove(there);
        }
      }),
    place,
  );
}

/** Calls `work` while the directory `path` exists: missing directories are made for that time. */
export function withDirectory<T>(path: string, work: () => T, place?: PlaceIfAny): T {
  const made = makeDirectories(path, place);
  try {
    return work();
  } finally {
    for (const directory of made.reverse()) {
      tryPathAt(place, directory, (at) => trySyscall('unlinkat', AT.FDCWD, arenaPath(at), AT.REMOVEDIR));
    }
  }
}

/**
 * Makes the file under its own name if that is free, else under a similar one. The name is removed soon in any case.
 */
function makeSomewhere(path: string, make: (path: string) => number): string {
  for (let attempt = 0; ; attempt++) {
    const there = attempt === 0 ? path : `${path}.cr_link${attempt === 1 ? '' : attempt}`;
    const result = make(there);
    if (result >= 0) return there;
    if (result !== -ERRNO.EEXIST || attempt > 1000) throw new SyscallError('linkat', -result, { resource: there });
  }
}

/** Makes a directory and its missing parents. Returns those made, the topmost first. */
function makeDirectories(path: string, place: PlaceIfAny): string[] {
  const made: string[] = [];
  const missing: string[] = [];
  for (let at = path.length; at > 0; at = path.lastIndexOf('/', at - 1)) {
    const directory = path.slice(0, at);
    if (tryPathAt(place, directory, (at) => trySyscall('faccessat', AT.FDCWD, arenaPath(at), 0)) === 0) break;
    missing.push(directory);
  }
  for (const directory of missing.reverse()) {
    const result = tryPathAt(place, directory, (at) => trySyscall('mkdirat', AT.FDCWD, arenaPath(at), 0o777));
    if (result < 0 && result !== -ERRNO.EEXIST) throw new SyscallError('mkdirat', -result, { resource: directory });
    if (result === 0) made.push(directory);
  }
  return made;
}

/** Makes a hard link. Returns 0 or -errno. */
export function linkFile(from: string, to: string): number {
  return trySyscall('linkat', AT.FDCWD, arenaPath(from), AT.FDCWD, arenaPath(to, 8192), 0);
}

/** Removes a name. It is no error if the name does not exist. */
export function unlinkFile(path: string, place?: PlaceIfAny): void {
  tryPathAt(place, path, (at) => trySyscall('unlinkat', AT.FDCWD, arenaPath(at), 0));
}
