/**
 * Memfds, and the files behind shared anonymous mappings. Images hold the inode (`memfd.img`), its content (in a
 * pagemap of its own) and each open file description of it.
 */

import { type LocalFd, localFd } from '../../../base/brands.ts';
import type {
  DumpContext,
  FileDoors,
  FileDraft,
  OpenFile,
  RestoreContext,
  RestoreTask,
  TaskKind,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { InputOf } from '../../../images/message.ts';
import type { FileEntry, MemfdInodeEntry, memfdInodeEntry } from '../../../images/schema/files.ts';
import { AT, F, F_SEAL, MFD, O, SEEK } from '../../../kernel/constants/files.ts';
import { duplicate } from '../../../kernel/files.ts';
import { splitDeleted } from '../../../kernel/proc/common.ts';
import { statusOf } from '../../../kernel/statx.ts';
import { arenaPath, ERRNO, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { captureSegment, makeSegment, segmentFlag } from '../../../memory/segments.ts';
import { reopen } from '../../../paths/ghost/capture.ts';
import { armAsync, captureOwner, imageFlags, setFlagsAndOwner } from '../../../support/fown.ts';
import { inheritedFd } from '../../../support/inherited.ts';

const PREFIX = '/memfd:';
/** The kernel's name for the file behind a shared anonymous mapping (shmem_zero_setup() in mm/shmem.c). */
const ANONYMOUS = '/dev/zero';
const NOBODY = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 } as const;

function capture(file: OpenFile, id: number, context: DumpContext): FileDraft {
  const flags = imageFlags(file.flags);
  const reached = file.fd < 0;
  return {
    memfd: {
      id,
      flags,
      pos: file.pos,
      fown: reached ? NOBODY : captureOwner(file.local, flags, context),
      inode_id: captureInode(file, context),
    },
  };
}

/** The IDs of the inodes saved so far, by device and inode number. */
const SAVED = new Slot((_: DumpContext) => new Map<string, number>());

/** Saves the inode behind a descriptor, once. Returns its ID. */
function captureInode(file: OpenFile, context: DumpContext): number {
  const known = SAVED.of(context);
  const key = `${file.stat.dev}:${file.stat.ino}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const id = known.size + 1;
  known.set(key, id);
  // Opened again, since the task's descriptor may be write-only, and its position must not change.
  using own = reopen(file.local, O.RDONLY);
  context.append(Images.memfdInode, describeInode(file, own.number, id, context));
  captureSegment(own.number, file.stat.ino, file.stat.size, context);
  return id;
}

function describeInode(
  file: OpenFile,
  local: LocalFd,
  id: number,
  { tree: { ids } }: DumpContext,
): InputOf<typeof memfdInodeEntry> {
  const { uid, gid, mode, size, ino } = statusOf(local);
  const huge = segmentFlag(file) ?? 0;
  return {
    name: nameOf(file.link),
    uid: ids.uidThere(uid),
    gid: ids.gidThere(gid),
    size,
    shmid: ino,
    seals: sealsOf(local),
    inode_id: id,
    hugetlb_flag: huge === 0 ? undefined : huge,
    mode,
  };
}

function nameOf(link: string): string {
  const { path } = splitDeleted(link);
  return path.startsWith(PREFIX) ? path.slice(PREFIX.length) : path;
}

/** The seals of a file. Files with huge pages have none before Linux 4.16. */
function sealsOf(local: LocalFd): number {
  const seals = trySyscall('fcntl', local, F.GET_SEALS);
  if (seals === -ERRNO.EINVAL) return F_SEAL.SEAL;
  if (seals < 0) throw new SyscallError('fcntl', -seals, { resource: 'seals of a memfd' });
  return seals;
}

/** A restored inode. */
interface Inode {
  readonly entry: MemfdInodeEntry;
  /** The descriptor that memfd_create(2) returned; it is open until the end of the restore. */
  readonly local: LocalFd;
  /** Whether a task has been given this open file description. */
  given: boolean;
  /** Whether its final seals are set. */
  sealed: boolean;
}

/** The inodes made so far, by ID. */
const MADE = new Slot((_: RestoreContext) => new Map<number, Inode>());

const ENTRIES = new Slot((context: RestoreContext) => context.images.read(Images.memfdInode));

function inodeOf(id: number, context: RestoreContext): Inode {
  const inodes = MADE.of(context);
  const known = inodes.get(id);
  if (known) return known;
  const entry = ENTRIES.of(context).find((candidate) => Number(candidate.inode_id) === id);
  if (!entry) throw new ImageError({ file: 'memfd.img', reason: `inode ${id} is missing` });
  const inode = { entry, local: makeInode(entry, context), given: false, sealed: false };
  inodes.set(id, inode);
  context.atEnd(() => trySyscall('close', inode.local));
  return inode;
}

function makeInode(entry: MemfdInodeEntry, context: RestoreContext): LocalFd {
  const sealed = entry.seals === F_SEAL.SEAL;
  // Only files made by mmap(MAP_SHARED | MAP_ANONYMOUS) have this name and only F_SEAL_SEAL.
  const anonymous = entry.name === ANONYMOUS && sealed && !entry.hugetlb_flag;
  const flags = (sealed ? 0 : MFD.ALLOW_SEALING) | (entry.hugetlb_flag ?? 0);
  const local = makeSegment(anonymous ? undefined : entry.name, flags, entry.shmid, Number(entry.size), context);
  syscall('fchown', local, context.ids.uidHere(entry.uid), context.ids.gidHere(entry.gid));
  if (entry.mode !== undefined) syscall('fchmod', local, entry.mode & 0o7777);
  return local;
}

/** As FileDoors.rebuild; with `flags` it is opened with these flags, to be mapped. */
function rebuild(entry: FileEntry, context: RestoreContext, flags?: number): LocalFd {
  const memfd = entry.memfd;
  if (!memfd) throw new ImageError({ file: 'files.img', reason: `file ${entry.id} has no memfd_file_entry` });
  const inode = inodeOf(memfd.inode_id, context);
  const inherited = inheritedFd(context, `${PREFIX}${inode.entry.name}`);
  if (inherited !== undefined) return localFd(duplicate(inherited, 3).release());
  const wanted = flags ?? memfd.flags;
  const local = openInode(inode, wanted);
  if ((wanted & O.PATH) === 0) {
    if (memfd.pos !== 0n) syscall('lseek', local, memfd.pos, SEEK.SET);
    setFlagsAndOwner(local, wanted, memfd.fown, context);
  }
  return local;
}

/**
 * The open file description that memfd_create(2) makes is the only writable one that can be executed, so one task gets
 * it if it had O_LARGEFILE, which 64-bit programs have. All others get new open file descriptions.
 */
function openInode(inode: Inode, flags: number): LocalFd {
  const readWrite = (flags & O.ACCMODE) === O.RDWR && (flags & O.PATH) === 0;
  if (readWrite && (flags & O.LARGEFILE) !== 0 && !inode.given) {
    inode.given = true;
    return localFd(duplicate(inode.local, 3).release());
  }
  const how = (flags & ~(O.CREAT | O.EXCL | O.TRUNC | O.NOFOLLOW | O.ASYNC)) | O.CLOEXEC;
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(`/proc/self/fd/${inode.local}`), how);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: `${PREFIX}${inode.entry.name}` });
  return localFd(fd);
}

function finish(entry: FileEntry, fd: number, task: RestoreTask): void {
  if (entry.memfd) armAsync(fd, entry.memfd.flags, task);
}

/**
 * Sets the final seals, after all tasks have mapped the files: F_SEAL_FUTURE_WRITE would forbid mappings that existed
 * before it.
 */
function addSeals({ context }: RestoreTask): void {
  for (const inode of MADE.of(context).values()) {
    const { entry, local, sealed } = inode;
    inode.sealed = true;
    if (sealed || entry.seals === 0 || entry.seals === F_SEAL.SEAL) continue;
    const result = trySyscall('fcntl', local, F.ADD_SEALS, entry.seals);
    if (result < 0) throw new SyscallError('fcntl', -result, { resource: `seals of ${PREFIX}${entry.name}` });
  }
}

/** Memfds, and mapped segments. */
export const memfd = {
  capture,
  rebuild,
  finish,
} satisfies FileDoors;

/**
 * Sets the final seals of memfds. The kind runs after all tasks have mapped them, since some seals would forbid the
 * mappings.
 */
export const memfdSeals: TaskKind = { name: 'memfd-seals', after: ['memory'], rebuild: { last: addSeals } };
