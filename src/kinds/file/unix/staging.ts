/**
 * Binds sockets to paths. bind(2) makes the file where the name leads, and fails if one is there: the left-over of the
 * socket that was dumped, as a rule. So each name is bound in a directory of Stasis' own that stands for the root, or
 * for the working directory of a relative name, and the file is then renamed to where it belongs, or removed. The
 * kernel keeps the name as it was given to bind(2), and finds sockets by the inode of their file.
 */
import { type LocalFd, localFd } from '../../../base/brands.ts';
import { decodeText } from '../../../base/text.ts';
import { AT, O, RENAME } from '../../../kernel/constants/files.ts';
import { AF, SOCK } from '../../../kernel/constants/sockets.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { namesIn, openFile } from '../../../kernel/files.ts';
import { encodeUnixAddress } from '../../../kernel/layouts/sockets.ts';
import { statusAt } from '../../../kernel/statx.ts';
import { arenaPath, ERRNO, Fd, insist, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { existingDirectory, stagedName } from './paths.ts';

/** Permissions of a socket's file. */
export interface Permissions {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A file that is bound and not yet where it belongs. */
interface Staged {
  readonly at: string;
  /** Where it belongs, or was before it was removed. */
  readonly path: string;
  readonly deleted: boolean;
  readonly permissions: Permissions | undefined;
}

/** The files of bound sockets until they are in their places. */
export class Staging implements Disposable {
  /** The staging directory in each directory. */
  readonly #directories = new Map<string, string>();
  #staged: Staged[] = [];
  /** Undoes what was put in place. */
  #undo: (() => void)[] = [];
  #count = 0;

  /**
   * Binds a socket to a path. Returns a descriptor (O_PATH) for its file, which everybody may connect to until it is
   * put in place. `path` is where the file belongs, or was before it was removed.
   * @throws SyscallError
   */
  bind(
    local: LocalFd,
    name: Uint8Array,
    path: string,
    { deleted, permissions }: { deleted: boolean; permissions: Permissions | undefined },
  ): Fd {
    const directory = this.#directoryFor(path);
    const { directories, from, file } = stagedName(decodeText(name).replace(/\0+$/, ''));
    for (const part of directories) makeDirectory(`${directory}/${part}`);
    const inside = from === '' ? directory : `${directory}/${from}`;
    bindFrom(local, name, name[0] === SLASH ? { root: directory } : { directory: inside });
    const at = `${directory}/.${++this.#count}`;
    syscall('renameat2', AT.FDCWD, arenaPath(`${directory}/${file}`), AT.FDCWD, arenaPath(at, 8192), 0);
    for (const part of directories.toReversed()) removeDirectory(`${directory}/${part}`);
    syscall('fchmodat', AT.FDCWD, arenaPath(at), 0o777);
    this.#staged.push({ at, path, deleted, permissions });
    return openFile(at, O.PATH | O.CLOEXEC);
  }

  /** Puts all files in their places, over those that are left of the sockets that were dumped. @throws SyscallError */
  publish(): void {
    for (const { at, path, deleted, permissions } of this.#staged) {
      if (permissions) {
        const { mode, uid, gid } = permissions;
        syscall('fchownat', AT.FDCWD, arenaPath(at), uid, gid, AT.SYMLINK_NOFOLLOW);
        syscall('fchmodat', AT.FDCWD, arenaPath(at), mode & 0o7777);
      }
      if (deleted) {
        remove(at, path);
        continue;
      }
      const before = statusAt(path);
      syscall('renameat2', AT.FDCWD, arenaPath(at), AT.FDCWD, arenaPath(path, 8192), 0);
      this.#undo.push(() => putBack(path, before));
    }
    this.#staged = [];
    this[Symbol.dispose]();
  }

  /**
   * Undoes what {@link publish} did. Where a file was before, ours stays with its permissions: it is the file of a
   * closed socket, as that was.
   */
  rollBack(): void {
    for (const work of this.#undo.toReversed()) work();
    this.#undo = [];
  }

  #directoryFor(path: string): string {
    const parent = existingDirectory(path, (at) => statusAt(at) !== undefined);
    const known = this.#directories.get(parent);
    if (known !== undefined) return known;
    const above = parent === '/' ? '' : parent;
    removeStale(above);
    const directory = `${above}/${PREFIX}${process.pid}`;
    makeDirectory(directory);
    this.#directories.set(parent, directory);
    return directory;
  }

  /** Removes the staging directories and what is in them. */
  [Symbol.dispose](): void {
    for (const { at } of this.#staged) removeName(at);
    this.#staged = [];
    for (const directory of this.#directories.values()) removeTree(directory);
    this.#directories.clear();
  }
}

const SLASH = 0x2f;
const PREFIX = '.stasis-unix-';

/** Removes what restores that were killed have left in a directory. */
function removeStale(above: string): void {
  for (const name of namesIn(above || '/').filter((name) => name.startsWith(PREFIX))) {
    if (trySyscall('kill', Number(/\d+/.exec(name)), 0) === 0) continue;
    if (name.endsWith('.removed')) removeName(`${above}/${name}`);
    else removeTree(`${above}/${name}`);
  }
}

/** Removes a staging directory with its directories and sockets. One directory may have been reached by two paths. */
function removeTree(path: string): void {
  if (statusAt(path) === undefined) return;
  for (const name of namesIn(path)) {
    const inside = `${path}/${name}`;
    if (removeName(inside) === -ERRNO.EISDIR) removeTree(inside);
  }
  removeDirectory(path);
}

/**
 * Removes a file, from where it was before if that is free: the kernel goes on telling the last path of a removed file.
 */
function remove(at: string, path: string): void {
  const result = trySyscall('renameat2', AT.FDCWD, arenaPath(at), AT.FDCWD, arenaPath(path, 8192), RENAME.NOREPLACE);
  let last = path;
  if (result < 0) {
    last = `${at.slice(0, at.lastIndexOf('/'))}.removed`;
    syscall('renameat2', AT.FDCWD, arenaPath(at), AT.FDCWD, arenaPath(last, 8192), 0);
  }
  insist('unlinkat', AT.FDCWD, arenaPath(last), 0);
}

function putBack(path: string, before: Permissions | undefined): void {
  if (!before) {
    removeName(path);
    return;
  }
  trySyscall('fchownat', AT.FDCWD, arenaPath(path), before.uid, before.gid, AT.SYMLINK_NOFOLLOW);
  trySyscall('fchmodat', AT.FDCWD, arenaPath(path), before.mode & 0o7777);
}

function makeDirectory(path: string): void {
  const result = trySyscall('mkdirat', AT.FDCWD, arenaPath(path), 0o700);
  if (result < 0 && result !== -ERRNO.EEXIST) throw new SyscallError('mkdirat', -result, { resource: path });
}

function removeDirectory(path: string): void {
  removeName(path, AT.REMOVEDIR);
}

/** Removes a name, and tries that again: nobody else would. Returns what the kernel has said in the end. */
function removeName(path: string, flags = 0): number {
  let result = 0;
  for (let attempt = 0; attempt < 3; attempt++) {
    result = trySyscall('unlinkat', AT.FDCWD, arenaPath(path), flags);
    if (result >= 0 || result === -ERRNO.EISDIR || result === -ERRNO.ENOENT) break;
  }
  return result;
}

/**
 * Binds with another root or working directory. The threads of the runtime share both with us until this thread has
 * its own (unshare(2)).
 */
function bindFrom(
  local: LocalFd,
  name: Uint8Array,
  place: { readonly root: string } | { readonly directory: string },
): void {
  syscall('unshare', Number(CLONE.FS));
  using root = openFile('/', O.PATH | O.DIRECTORY | O.CLOEXEC);
  using here = openFile('.', O.PATH | O.DIRECTORY | O.CLOEXEC);
  const address = encodeUnixAddress(name);
  try {
    if ('root' in place) {
      syscall('chroot', arenaPath(place.root));
      syscall('chdir', arenaPath('/'));
    } else syscall('chdir', arenaPath(place.directory));
    syscall('bind', local, address, address.length);
  } finally {
    insist('fchdir', root.number);
    insist('chroot', arenaPath('.'));
    insist('fchdir', here.number);
  }
}

/**
 * The address under which a socket is connected to by way of a descriptor (O_PATH) for its file, in the process that
 * has the descriptor under this number.
 */
export function addressThrough(fd: number): Uint8Array {
  return encodeUnixAddress(new TextEncoder().encode(`/proc/self/fd/${fd}`));
}

/** Whether a live socket is bound to a file. A connection of another type is refused without anybody noticing it. */
export function isLive(path: string): boolean {
  using socket = new Fd(syscall('socket', AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0));
  using file = openFile(path, O.PATH | O.CLOEXEC);
  const address = addressThrough(localFd(file.number));
  return trySyscall('connect', socket.number, address, address.length) !== -ERRNO.ECONNREFUSED;
}
