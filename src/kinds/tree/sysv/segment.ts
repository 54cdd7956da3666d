/** System V segments at a restore: existing ones are used, the others are made again. */
import { StasisError } from '../../../base/errors.ts';
import { logDebug, logInfo } from '../../../base/log.ts';
import { encodeText } from '../../../base/text.ts';
import type { RestoreContext } from '../../../contract/contract.ts';
import type { IpcShmEntry } from '../../../images/schema/namespaces.ts';
import { AT, MFD, O } from '../../../kernel/constants/files.ts';
import { IPC, SHM_CTL, SHM_MODE } from '../../../kernel/constants/ipc.ts';
import { MADV } from '../../../kernel/constants/memory.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { parseSysvShm, type SysvSegment } from '../../../kernel/proc/sysvipc.ts';
import { arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { fillMapping } from '../../../memory/segments.ts';
import { lengthOf, savedSegments } from '../../../memory/sysv-attach.ts';
import { pagesOf } from './pages.ts';

const PERMISSIONS = 0o777;

/** Makes sure that all segments of the images exist, and keeps them until the tasks have attached them. */
export function provideSegments(context: RestoreContext): void {
  const saved = [...savedSegments(context).values()];
  if (saved.length === 0) return;
  const present = parseSysvShm(readSystem('/proc/sysvipc/shm'));
  // All conflicts are reported before anything is made.
  for (const segment of saved) requireRoom(segment, present);
  for (const segment of saved) {
    const found = present.find(({ id }) => id === segment.desc.id);
    if (!found) make(segment, context);
    const at = hold(segment, context);
    // A process that has the segment attached may have changed it, so its content is left. If none has, the saved
    // content is restored.
    if (!found) fillMapping(at, pagesOf(segment.desc.id), lengthOf(segment), context);
    else if (found.attached === 0) putBack(segment, at, context);
    else logInfo(`shared memory segment ${found.id} is in use: it is left as it is`);
  }
}

/** @throws StasisError kind 'conflict' if another segment has the id or the key */
function requireRoom({ desc, size }: IpcShmEntry, present: readonly SysvSegment[]): void {
  const sameId = present.find(({ id }) => id === desc.id);
  if (sameId?.key === desc.key && sameId.size === Number(size)) return;
  const other = sameId ?? present.find(({ key }) => key === desc.key && key !== 0);
  if (!other) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'SYSV_SEGMENT_TAKEN',
    resource: nameOf(desc),
    reason: `another segment is there, with ID ${other.id}, key 0x${other.key.toString(16)} and ${other.size} bytes`,
    remedy: `end the programs that use it and remove it (ipcrm -m ${other.id}), or restore inside a new IPC namespace`,
  });
}

function nameOf({ id, key }: IpcShmEntry['desc']): string {
  return `shared memory segment ${id} (key 0x${key.toString(16)})`;
}

/** Makes an empty segment, which is removed if the restore fails. */
function make(segment: IpcShmEntry, context: RestoreContext): void {
  const { desc, size } = segment;
  chooseId(desc.id);
  const flags = IPC.CREAT | IPC.EXCL | (desc.mode & PERMISSIONS) | (segment.hugetlb_flag ?? 0);
  const id = trySyscall('shmget', desc.key | 0, size, flags);
  if (id < 0) throw new SyscallError('shmget', -id, { resource: nameOf(desc) });
  context.undo(() => trySyscall('shmctl', id, IPC.RMID, 0));
  if (id !== desc.id) {
    const reason = `the kernel gave it ID ${id}: the place of its own is in use`;
    throw new StasisError({ kind: 'conflict', code: 'SYSV_SEGMENT_TAKEN', resource: nameOf(desc), reason });
  }
  setOwner(desc);
  if (desc.mode & SHM_MODE.LOCKED) trySyscall('shmctl', id, SHM_CTL.LOCK, 0);
  logDebug(`${nameOf(desc)} is made`);
}

/** Sets owner and permissions (IPC_SET with struct shmid64_ds). The creator cannot be set: it is Stasis. */
function setOwner({ id, uid, gid, mode }: IpcShmEntry['desc']): void {
  const words = new Uint32Array(28);
  words[1] = uid;
  words[2] = gid;
  words[5] = mode & PERMISSIONS;
  syscall('shmctl', id, IPC.SET, words);
}

/** Sets the ID of the next segment (since 3.8, CONFIG_CHECKPOINT_RESTORE). */
function chooseId(id: number): void {
  const path = '/proc/sys/kernel/shm_next_id';
  const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.WRONLY | O.CLOEXEC);
  if (opened < 0) throw new SyscallError('openat', -opened, { resource: path });
  using file = new Fd(opened);
  const bytes = encodeText(String(id));
  const written = trySyscall('write', file.number, bytes, bytes.length);
  if (written < 0) throw new SyscallError('write', -written, { resource: path });
}

/**
 * Attaches a segment to Stasis until the tasks have it, since an unattached segment may be removed
 * (kernel.shm_rmid_forced).
 */
function hold({ desc }: IpcShmEntry, context: RestoreContext): number {
  const at = attachHere(desc);
  context.atEnd(() => trySyscall('shmdt', at));
  return at;
}

function attachHere(desc: IpcShmEntry['desc']): number {
  const at = trySyscall('shmat', desc.id, 0, 0);
  if (at < 0) throw new SyscallError('shmat', -at, { resource: nameOf(desc) });
  return at;
}

/** Replaces the content of a segment by the saved one. The previous content is restored if the restore fails. */
function putBack({ desc, ...segment }: IpcShmEntry, at: number, context: RestoreContext): void {
  const length = lengthOf(segment);
  const copy = new Fd(syscall('memfd_create', arenaPath('stasis-segment'), MFD.CLOEXEC));
  transfer('pwrite64', copy, at, length);
  context.undo(() => {
    const again = attachHere(desc);
    transfer('pread64', copy, again, length);
    trySyscall('shmdt', again);
    copy[Symbol.dispose]();
  });
  syscall('madvise', at, length, MADV.REMOVE);
  fillMapping(at, pagesOf(desc.id), length, context);
}

/** Reads or writes exactly `length` bytes between a file and our memory. */
function transfer(call: 'pread64' | 'pwrite64', file: Fd, at: number, length: number): void {
  for (let done = 0; done < length; ) {
    const moved = trySyscall(call, file.number, at + done, length - done, done);
    if (moved > 0) done += moved;
    else if (moved !== -ERRNO.EINTR)
      throw new SyscallError(call, -moved || ERRNO.EIO, { resource: 'a copy of a segment' });
  }
}

/** Marks segments for destruction again that had been marked, when all tasks have attached them. */
export function markDestroyed(context: RestoreContext): void {
  for (const { desc } of savedSegments(context).values()) {
    if (desc.mode & SHM_MODE.DEST) syscall('shmctl', desc.id, IPC.RMID, 0);
  }
}
