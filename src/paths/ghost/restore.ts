/**
 * Ghosts, the half of the restore. The file is made again under its old name, opened, and unlinked. All entries of
 * files.img that refer to the ghost open the same file.
 */

import type { LocalFd } from '../../base/brands.ts';
import type { IdView, RestoreContext } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { imageName } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import type { GhostFileEntry, RegFileEntry } from '../../images/schema/files.ts';
import { AT, O, S_IF, SEEK } from '../../kernel/constants/files.ts';
import { statusAt } from '../../kernel/statx.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import {
  type PlaceIfAny,
  placeOfEntry,
  tryOpenAt,
  tryPathAt,
  widePlaces,
  withPathAt,
  writablePlace,
} from '../../namespaces/places.ts';
import { openPath } from '../open-path.ts';
import { linkFile, unlinkFile, withDirectory, withTemporaryName } from '../temporary-name.ts';
import { GhostImage } from './image.ts';

/**
 * A ghost that has been made. `anchors` holds, by the ID of each of its entries, an O_PATH descriptor that was opened
 * under the name of that entry.
 */
interface RestoredGhost {
  readonly anchors: Map<number, LocalFd>;
  /**
   * Descriptors that were opened while the name existed, because their flags require that (O_NOFOLLOW). Each is
   * returned once.
   */
  readonly opened: Map<number, LocalFd>;
}

/** The ghosts made so far, by ID. */
const GHOSTS = new Slot((_: RestoreContext) => new Map<number, RestoredGhost>());

/**
 * Opens a ghost with these flags, and makes it on first use. `peers` are the entries of files.img that refer to this
 * ghost.
 * @throws ImageError, SyscallError
 */
export function openGhost(
  id: number,
  entry: RegFileEntry,
  flags: number,
  context: RestoreContext,
  peers: () => readonly RegFileEntry[],
): LocalFd {
  const ghosts = GHOSTS.of(context);
  const ghost = ghosts.get(id) ?? restoreGhost(id, peers(), context);
  ghosts.set(id, ghost);
  const ready = flags === entry.flags ? ghost.opened.get(entry.id) : undefined;
  if (ready !== undefined) {
    ghost.opened.delete(entry.id);
    return ready;
  }
  return openPath(`/proc/self/fd/${ghost.anchors.get(entry.id)}`, flags & ~O.NOFOLLOW, entry.name);
}

function restoreGhost(id: number, peers: readonly RegFileEntry[], context: RestoreContext): RestoredGhost {
  const ghost: RestoredGhost = { anchors: new Map(), opened: new Map() };
  context.atEnd(() => {
    for (const fd of [...ghost.anchors.values(), ...ghost.opened.values()]) trySyscall('close', fd);
  });
  const [first] = peers;
  if (!first) return ghost;
  using image = new GhostImage(context.images.path(Images.ghostFile, id), imageName(Images.ghostFile, id));
  if (isUnnamed(first, image.head) && restoreUnnamed(ghost, peers, first, image, context)) return ghost;
  const place = placeOfEntry(first, context);
  const making = writablePlace(place);
  const directory = (image.head.mode & S_IF.MT) === S_IF.DIR;
  withTemporaryName(
    first.name,
    (path) => make(path, image, context.ids),
    directory ? removeDirectory : unlinkFile,
    (path) => {
      for (const peer of peers) {
        const isElsewhere = peer.mnt_id !== first.mnt_id || making !== place;
        if (isElsewhere && anchorThroughMount(ghost, peer, path, context)) continue;
        if (peer.name === first.name || directory) anchor(ghost, peer, path);
        else anchorByLink(ghost, peer, { path, name: first.name, place }, context);
      }
    },
    making,
  );
  return ghost;
}

/** Opens a ghost under another name than the one it was made for, `name`; it is at `path`. */
function anchorByLink(
  ghost: RestoredGhost,
  peer: RegFileEntry,
  { path, name, place: from }: { readonly path: string; readonly name: string; readonly place: PlaceIfAny },
  context: RestoreContext,
): void {
  const place = placeOfEntry(peer, context);
  const wide = widePlaces(from, place);
  const present = name.slice(0, name.lastIndexOf('/')) + path.slice(path.lastIndexOf('/'));
  withTemporaryName(
    peer.name,
    (other) => (wide ? withPathAt(wide[0], present, (at) => linkFile(at, other)) : linkFile(path, other)),
    unlinkFile,
    (other) => {
      if (!wide || !anchorThroughMount(ghost, peer, other, context)) anchor(ghost, peer, other);
    },
    wide?.[1] ?? place,
  );
}

/**
 * Opens a ghost through another mount than the one it is made on, if that shows the directory as well. A link from one
 * to the other is refused (EXDEV), though the file system is the same. Returns whether the file is there.
 */
function anchorThroughMount(ghost: RestoredGhost, peer: RegFileEntry, path: string, context: RestoreContext): boolean {
  const result = tryPathAt(placeOfEntry(peer, context), peer.name, (at) => {
    const there = at.slice(0, at.lastIndexOf('/')) + path.slice(path.lastIndexOf('/'));
    const [made, seen] = [statusAt(path), statusAt(there)];
    if (made?.dev !== seen?.dev || made?.ino !== seen?.ino) return -ERRNO.ENOENT;
    anchor(ghost, peer, there);
    return 0;
  });
  return result === 0;
}

function anchor(ghost: RestoredGhost, entry: RegFileEntry, path: string): void {
  ghost.anchors.set(entry.id, openPath(path, O.PATH | O.NOFOLLOW, entry.name));
  if ((entry.flags & O.NOFOLLOW) !== 0) ghost.opened.set(entry.id, openPath(path, entry.flags, entry.name));
}

/**
 * Whether a file never had a name (O_TMPFILE). The kernel then uses its inode number as the name (d_mark_tmpfile() in
 * fs/dcache.c), and the open file description that made it keeps the flag. Whether it was made with O_EXCL, so that it
 * can never get a name, cannot be found out: linkat(2) would tell, but would also change the file.
 */
function isUnnamed(entry: RegFileEntry, head: GhostFileEntry): boolean {
  if ((head.mode & S_IF.MT) !== S_IF.REG) return false;
  return (entry.flags & O.TMPFILE_BIT) !== 0 || entry.name.endsWith(`/#${head.ino}`);
}

/**
 * Makes such a file again with O_TMPFILE, so that linkat(2) can still give it a name, which the kernel refuses for a
 * file that lost its last name (I_LINKABLE, vfs_link() in fs/namei.c). Returns whether the file system supports
 * O_TMPFILE.
 */
function restoreUnnamed(
  ghost: RestoredGhost,
  peers: readonly RegFileEntry[],
  first: RegFileEntry,
  image: GhostImage,
  context: RestoreContext,
): boolean {
  const place = placeOfEntry(first, context);
  const making = first.name.slice(0, first.name.lastIndexOf('/')) || '/';
  return withDirectory(
    making,
    () => {
      // The open file description that made the file, if a task still has it.
      const maker = peers.find(({ flags }) => (flags & O.TMPFILE_BIT) !== 0);
      const how = O.TMPFILE_BIT | O.DIRECTORY | O.CLOEXEC | (maker ? maker.flags & ~SET_LATER : O.RDWR);
      const fd = tryOpenAt(place, making, how, 0o600);
      if (fd < 0) return false;
      using made = new Fd(fd);
      image.pour(fd);
      syscall('lseek', fd, 0, SEEK.SET);
      const path = `/proc/self/fd/${fd}`;
      adorn(path, image.head, 0, context.ids);
      for (const peer of peers) ghost.anchors.set(peer.id, openPath(path, O.PATH, peer.name));
      if (maker) ghost.opened.set(maker.id, made.release());
      return true;
    },
    place,
  );
}

/** Flags that would hinder filling in the content; they are set afterwards by whoever opens the file. */
const SET_LATER = O.APPEND | O.DIRECT | O.NONBLOCK | O.NOATIME | O.ASYNC;

/** Makes the file. Returns 0, or -EEXIST if the name is taken. */
function make(path: string, image: GhostImage, ids: IdView): number {
  const { head } = image;
  const result = makeNode(path, image);
  if (result < 0) return result;
  try {
    adorn(path, head, AT.SYMLINK_NOFOLLOW, ids);
  } catch (error) {
    if ((head.mode & S_IF.MT) === S_IF.DIR) removeDirectory(path);
    else unlinkFile(path);
    throw error;
  }
  return 0;
}

function makeNode(path: string, image: GhostImage): number {
  const { mode, rdev, symlnk_target } = image.head;
  const at = arenaPath(path);
  switch (mode & S_IF.MT) {
    case S_IF.DIR:
      return trySyscall('mkdirat', AT.FDCWD, at, 0o700);
    case S_IF.IFO:
    case S_IF.SOCK:
    case S_IF.CHR:
    case S_IF.BLK:
      return trySyscall('mknodat', AT.FDCWD, at, mode, rdev ?? 0);
    case S_IF.LNK:
      if (symlnk_target === undefined) throw image.error('a symbolic link without a target');
      return trySyscall('symlinkat', arenaPath(symlnk_target, 8192), AT.FDCWD, at);
    case S_IF.REG:
      return makeRegular(path, image);
    default:
      throw image.error(`a file of mode 0${mode.toString(8)} has no content`);
  }
}

function makeRegular(path: string, image: GhostImage): number {
  const flags = O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC;
  const result = trySyscall('openat', AT.FDCWD, arenaPath(path), flags, 0o600);
  if (result < 0) return result;
  using fd = new Fd(result);
  try {
    image.pour(fd.number);
  } catch (error) {
    unlinkFile(path);
    throw error;
  }
  return 0;
}

/**
 * Sets the owner, then permissions (a change of owner drops the set-user-ID bit), then times. `flags` is
 * AT_SYMLINK_NOFOLLOW, or 0 if `path` is a link in /proc that leads to the file.
 */
function adorn(path: string, head: GhostFileEntry, flags: number, ids: IdView): void {
  const at = arenaPath(path);
  syscall('fchownat', AT.FDCWD, at, ids.uidHere(head.uid), ids.gidHere(head.gid), flags);
  if ((head.mode & S_IF.MT) !== S_IF.LNK) syscall('fchmodat', AT.FDCWD, at, head.mode & 0o7777);
  if (!head.atim || !head.mtim) return;
  const times = 8192;
  [head.atim, head.mtim].forEach((time, i) => {
    arenaView.setBigUint64(times + 16 * i, time.tv_sec, true);
    arenaView.setBigUint64(times + 16 * i + 8, time.tv_usec * 1000n, true);
  });
  const result = trySyscall('utimensat', AT.FDCWD, at, arenaAddress + times, flags);
  if (result < 0 && result !== -ERRNO.EOPNOTSUPP) throw new SyscallError('utimensat', -result, { resource: path });
}

function removeDirectory(path: string): void {
  trySyscall('unlinkat', AT.FDCWD, arenaPath(path), AT.REMOVEDIR);
}
