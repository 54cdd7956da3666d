/**
 * Finds out whether an open file can be opened again by the name the kernel gives for it. For unlinked files the kernel
 * appends ` (deleted)` to the name, but a file may really be called so; only a comparison of inodes tells.
 */

import type { LocalFd } from '../base/brands.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import { encodeText } from '../base/text.ts';
import type { CarryOptions, OpenFile, SeenTree } from '../contract/contract.ts';
import { FileOwner } from '../kernel/act-as.ts';
import { AT, FS_MAGIC, S_IF } from '../kernel/constants/files.ts';
import { splitDeleted } from '../kernel/proc/common.ts';
import { TOO_DEEP } from '../kernel/proc/read.ts';
import { statusOf } from '../kernel/statx.ts';
import { arenaAddress, arenaPath, arenaView, ERRNO, trySyscall } from '../kernel/syscall.ts';
import { type PlaceIfAny, placeOf, statusIn, tryPathAt } from '../namespaces/places.ts';
import { countsOtherwise } from './proc-names.ts';

/** What the name by which a file was opened leads to now. */
export type Location =
  /** The name still leads to the file. */
  | { readonly kind: 'visible'; readonly name: string }
  /** The file has no name any more, so its content has to be saved. */
  | { readonly kind: 'ghost'; readonly name: string }
  /** This name is gone, but the file has other names, which are unknown. */
  | { readonly kind: 'linked'; readonly name: string }
  /** The file belongs to the /proc directory of a process that is dead. */
  | { readonly kind: 'deadTask'; readonly name: string; readonly pid: number }
  /** The user provides the file at the restore (`--external file[mnt:inode]`). */
  | { readonly kind: 'external'; readonly name: string }
  /** The file cannot be opened again. */
  | { readonly kind: 'lost'; readonly code: ErrorCode; readonly reason: string; readonly remedy?: string };

const TOO_LONG: Location = {
  kind: 'lost',
  code: 'FILE_PATH_TOO_LONG',
  reason: 'it lies too deep to be opened by its path again (PATH_MAX)',
  remedy: 'rename a directory above it, so that the path gets shorter',
};

/** The kernel shows `/` for a file that is not connected to its directory. */
const BY_HANDLE: Location = {
  kind: 'lost',
  code: 'FILE_NOT_AT_PATH',
  reason: 'it was opened by its handle (open_by_handle_at), and the kernel knows no path of it',
  remedy: 'have the program open it by its path, or close it before the dump',
};

const NUMBER_UNKNOWN: Location = {
  kind: 'lost',
  code: 'FILE_NOT_AT_PATH',
  reason: 'its process has ended, and had another number in the PID namespace of the tree, which nobody knows any more',
  remedy: 'have the program close it, or mount a /proc of its own for the tree (unshare --mount-proc)',
};

/** Kernel objects that look like regular files, by the magic of their file system, and why they cannot be carried. */
const SPECIAL: Readonly<Record<number, Location>> = {
  [FS_MAGIC.SECRETMEM_MAGIC]: {
    kind: 'lost',
    code: 'FILE_SECRET_MEMORY',
    reason: 'it is secret memory (memfd_secret), which nobody but the process itself can read',
    remedy: 'have the program do without, for instance by booting with secretmem.enable=0',
  },
  [FS_MAGIC.MQUEUE_MAGIC]: {
    kind: 'lost',
    code: 'FILE_MESSAGE_QUEUE',
    reason:
      'it is a POSIX message queue that was removed, or one of an IPC namespace that no process of the tree is in',
    remedy: 'have the program close it (mq_close) before the dump',
  },
};

/** Looks for the file under its name. Changes nothing. */
export function location(file: OpenFile, tree: SeenTree): Location {
  const { options } = tree;
  const external = externalKey(file, options);
  if (external) return { kind: 'external', name: external };
  if (file.link === TOO_DEEP) return TOO_LONG;
  if (!file.link.startsWith('/')) {
    return { kind: 'lost', code: 'FILE_NAMELESS', reason: `${file.link} is not the name of a file` };
  }
  if (Buffer.byteLength(encodeText(file.link)) >= 4096) return TOO_LONG;

  const place = placeOf(file, tree);
  const there = file.stat.nlink > 0 ? statusIn(place, file.link) : undefined;
  if (there && there.dev === file.stat.dev && there.ino === file.stat.ino) return { kind: 'visible', name: file.link };

  const { path, deleted } = splitDeleted(file.link);
  const magic = fileSystem(file.local);
  // The kernel makes the names of terminals, which exist as long as their masters; they never end in ` (deleted)`.
  if (magic === FS_MAGIC.DEVPTS_SUPER_MAGIC) return { kind: 'visible', name: path };
  if (magic === FS_MAGIC.PROC_SUPER_MAGIC) return inProc(file, place, tree);
  const special = SPECIAL[magic];
  if (special) return special;
  if (file.stat.nlink === 0) return { kind: 'ghost', name: deleted ? path : file.link };
  if (there && options.evasiveDevices && isDevice(file) && there.rdev === file.stat.rdev) {
    return { kind: 'visible', name: file.link };
  }
  if (deleted) return otherNames(file, path, options);
  if (place?.hides?.(file.link)) return { kind: 'visible', name: file.link };
  if (file.link === '/' && (file.stat.mode & S_IF.MT) !== S_IF.DIR) return BY_HANDLE;
  const what = there ? 'another file is at its path' : 'its path leads nowhere';
  return {
    kind: 'lost',
    code: 'FILE_NOT_AT_PATH',
    reason: `${what}: its file system was unmounted or mounted over, or is one of another mount namespace`,
  };
}

/** The name is gone but the link count is not 0: the file has other hard links, unless it is a directory. */
function otherNames(file: OpenFile, name: string, options: CarryOptions): Location {
  if ((file.stat.mode & S_IF.MT) === S_IF.DIR) return { kind: 'ghost', name };
  if (options.linkRemap) return { kind: 'linked', name };
  return {
    kind: 'lost',
    code: 'FILE_UNLINKED',
    reason: 'it was unlinked under the name it was opened by, and lives on under another one',
    remedy: '--link-remap makes a link for it that the restore removes',
  };
}

/**
 * A file of /proc. Its inodes are made on demand, so comparing them says nothing. `/proc/17` of a dead task is marked
 * as deleted, `/proc/17/stat` is not. A file of `/proc/17/net` is marked as soon as somebody else has looked it up,
 * though its task lives: the kernel makes a new dentry for each lookup there.
 */
function inProc(file: OpenFile, place: PlaceIfAny, tree: SeenTree): Location {
  const { link } = file;
  const name = splitDeleted(link).path;
  const pid = Number(/^\/proc\/(\d+)(?:\/|$)/.exec(name)?.[1]);
  const marked = name !== link && !OF_NET.test(name);
  const dead = pid > 0 && (marked || statusIn(place, `/proc/${pid}`) === undefined);
  if (!dead) return { kind: 'visible', name };
  return countsOtherwise(file, tree) ? NUMBER_UNKNOWN : { kind: 'deadTask', name, pid };
}

/** A file that is the same for all tasks of a network namespace. */
const OF_NET = /^\/proc\/\d+\/(task\/\d+\/)?net\//;

/** The name of the file if the user has declared it external (`--external file[mnt:inode]`). */
function externalKey(file: OpenFile, options: CarryOptions): string | undefined {
  if (options.external.length === 0) return undefined;
  const key = `file[${file.mntId.toString(16)}:${file.stat.ino.toString(16)}]`;
  return options.external.includes(key) ? key : undefined;
}

function isDevice(file: OpenFile): boolean {
  const type = file.stat.mode & S_IF.MT;
  return type === S_IF.CHR || type === S_IF.BLK;
}

/** `f_type` of the file system of a descriptor; 0 if it is unknown. */
function fileSystem(local: LocalFd): number {
  return trySyscall('fstatfs', local, arenaAddress) < 0 ? 0 : arenaView.getUint32(0, true);
}

/** Whether a file is on overlayfs, where an unlinked file of a lower layer has no inode that could be linked again. */
export function isOverlay(local: LocalFd): boolean {
  return fileSystem(local) === FS_MAGIC.OVERLAYFS_SUPER_MAGIC;
}

/** Makes a hard link to an open file. Returns 0 or -errno. */
export function linkOpenFile(local: LocalFd, path: string, place?: PlaceIfAny): number {
  const link = (): number =>
    tryPathAt(place, path, (at) => {
      const from = arenaPath('');
      const to = arenaPath(at, 8);
      return trySyscall('linkat', local, from, AT.FDCWD, to, AT.EMPTY_PATH);
    });
  const linked = link();
  if (linked !== -ERRNO.EOVERFLOW) return linked;
  // Its file system belongs to a user namespace that does not know us. It knows the owner of the file.
  using _ = new FileOwner(statusOf(local));
  return link();
}
