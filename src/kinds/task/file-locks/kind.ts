/** Locks on files (flock, POSIX, open file description) and leases. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { NoticeFacts } from '../../../base/notice.ts';
import type {
  DumpContext,
  DumpTask,
  OpenFile,
  RestoreContext,
  RestoreTask,
  SeenTask,
  TaskKind,
} from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { ImageError } from '../../../images/error.ts';
import { Images } from '../../../images/kinds.ts';
import type { FileLockEntry } from '../../../images/schema/files.ts';
import { AT, F, F_LCK, KCMP, O } from '../../../kernel/constants/files.ts';
import { Flock } from '../../../kernel/layouts/files.ts';
import type { FileLock } from '../../../kernel/proc/locks.ts';
import { mapFile } from '../../../kernel/proc/smaps.ts';
import { arenaPath, describeErrno, ERRNO, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { openFlags } from '../../../memory/vma.ts';
import { fileObstacle } from '../../../support/fdinfo.ts';
import { ownerOf, setOwner } from '../../../support/fown.ts';
import { noteMappedLock } from '../../../support/mapped-lock.ts';
import type { Program, Ref } from '../../../tracee/program.ts';
import { LEASE_BREAKING, LockKind, lockCall, lockEntry } from './lock.ts';
import { lockedMappings } from './mapped.ts';
import { locksOf } from './shown.ts';

function obstacles(task: SeenTask): StasisError[] {
  return task.fds.flatMap((file) =>
    locksOf(file).flatMap((lock) => {
      if (!lockEntry(lock, task.pid, file.fd)) {
        return [fileObstacle(file, 'LOCK_UNKNOWN', `a lock of kind ${lock.kind} ${lock.type} cannot be carried`)];
      }
      if (task.options.fileLocks) return [];
      const what = lock.kind === 'LEASE' ? 'a lease' : `a lock (${lock.kind} ${lock.type})`;
      return [fileObstacle(file, 'FILE_LOCKS', `the task holds ${what} on the file`, '--file-locks')];
    }),
  );
}

/**
 * Notices about locks that only a mapping keeps alive and that are lost without --file-locks. They are no obstacles,
 * since the user may not know of them: every Java virtual machine has one, and only other such machines look at it.
 */
function notices(task: SeenTask): NoticeFacts[] {
  if (task.options.fileLocks) return [];
  return lockedMappings(task).map(({ lock, vma }) => ({
    task: task.ref,
    resource: `mapping ${vma.start.toString(16)} ${vma.name}`,
    reason: `a lock (FLOCK ${lock.type}) on the file, whose descriptor is closed, is lost`,
    remedy: '--file-locks carries it',
  }));
}

/** Records the locks that only a mapping keeps alive, with the mapped files. */
function captureMapped(task: DumpTask): void {
  if (!task.options.fileLocks) return;
  for (const { lock, vma } of lockedMappings(task)) {
    const id = task.context.openFiles.idOfPath(task.ref, mapFile(task.pid, vma), openFlags(vma));
    noteMappedLock(task.context, id, { exclusive: lock.type === 'WRITE' });
  }
}

/** The locks saved so far. */
const SAVED = new Slot((_: DumpContext) => new Set<string>());

/**
 * Captures each lock once. Duplicates of a descriptor show the same locks, and so do all tasks that share the open file
 * description or the descriptor table.
 */
function capture(task: DumpTask): undefined {
  captureMapped(task);
  if (task.captured.files) return;
  const done = SAVED.of(task.context);
  for (const file of task.fds) {
    const locks = locksOf(file);
    if (locks.length === 0) continue;
    const id = task.context.openFiles.idOf(file);
    for (const lock of locks) {
      const posix = lock.kind === 'POSIX';
      const taker = task.tree.pids.saved(posix ? takerOf(lock, task) : task.pid);
      const entry = lockEntry(lock, taker, file.fd);
      if (!entry) continue;
      const key = `${id} ${posix ? task.pid : 0} ${lock.kind} ${entry.start} ${entry.len}`;
      if (done.has(key)) continue;
      done.add(key);
      task.context.append(Images.fileLocks, { ...entry, type: correctedType(entry.type, lock, file) });
    }
  }
}

/**
 * The task that took a lock. A POSIX lock belongs to a descriptor table, but F_GETLK shows other processes which of the
 * tasks that share the table took it.
 */
function takerOf({ pid }: FileLock, task: DumpTask): number {
  const other = task.context.tree.tasks.find((candidate) => candidate.pid === pid);
  return other && trySyscall('kcmp', task.pid, pid, KCMP.FILES, 0, 0) === 0 ? pid : task.pid;
}

/**
 * The type of a lock. /proc shows a lease that is being broken as READ whatever it is to become; F_GETLEASE gives the
 * target.
 */
function correctedType(type: number, lock: FileLock, file: OpenFile): number {
  if (lock.kind !== 'LEASE' || (type & LEASE_BREAKING) === 0) return type;
  return LEASE_BREAKING | syscall('fcntl', file.local, F.GETLEASE);
}

const ENTRIES = new Slot((context: RestoreContext) => context.images.read(Images.fileLocks));

function locksOfTask(task: RestoreTask): FileLockEntry[] {
  return ENTRIES.of(task.context).filter((entry) => entry.pid === task.pid);
}

/**
 * Takes the locks again. The task itself does so, since the process is the owner of a POSIX lock, and since the kernel
 * records the descriptor number of a lease.
 */
function takeLocks(task: RestoreTask): void {
  for (const entry of locksOfTask(task)) {
    if (entry.flag === LockKind.LEASE && (entry.type & LEASE_BREAKING) !== 0) takeBreakingLease(entry, task);
    else take(entry, task);
  }
}

function take(entry: FileLockEntry, task: RestoreTask): void {
  const wanted = lockCall(entry);
  if (!wanted) {
    throw new ImageError({ file: 'filelocks.img', reason: `lock of flag ${entry.flag}, type ${entry.type}` });
  }
  const program = task.batch.reserve(1, Flock.size + 8);
  let result: Ref;
  if (wanted.call === 'flock') {
    result = program.attempt('flock', entry.fd, wanted.operation);
  } else {
    const argument = wanted.range
      ? program.data(Flock.encode({ type: wanted.type, start: entry.start, length: entry.len }))
      : wanted.type;
    result = program.attempt('fcntl', entry.fd, wanted.command, argument);
  }
  task.batch.after((done) => requireLock(done, result, entry, task));
}

function requireLock(program: Program, call: Ref, entry: FileLockEntry, task: RestoreTask): void {
  const result = program.result(call);
  if (result >= 0) return;
  const taken = result === -ERRNO.EAGAIN || result === -ERRNO.EACCES;
  throw new StasisError({
    kind: taken ? 'conflict' : 'kernel',
    code: taken ? 'LOCK_TAKEN' : 'KERNEL',
    task: task.ref,
    resource: `lock on fd ${entry.fd}`,
    reason: taken
      ? 'another process holds a conflicting lock on the file'
      : `it cannot be taken: ${describeErrno(result)}`,
  });
}

/**
 * Takes a lease that was being broken. It is taken as it was before, and broken again by opening the file with the
 * access that leaves the saved type.
 */
function takeBreakingLease(entry: FileLockEntry, task: RestoreTask): void {
  const left = entry.type & ~LEASE_BREAKING;
  const fdinfo = task.fds.find((candidate) => candidate.fd === entry.fd);
  const local = fdinfo && task.context.open(fdinfo.id);
  if (local === undefined) throw new ImageError({ file: 'filelocks.img', reason: `lease on fd ${entry.fd}, not open` });
  const readOnly = (syscall('fcntl', local, F.GETFL) & O.ACCMODE) === O.RDONLY;
  take({ ...entry, type: readOnly ? F_LCK.RDLCK : F_LCK.WRLCK }, task);
  task.batch.flush();
  // The owner gets no second signal: it was sent one before the dump.
  const owner = ownerOf(local, 0);
  syscall('fcntl', local, F.SETOWN, 0);
  breakLease(local, left);
  setOwner(local, owner);
}

function breakLease(local: LocalFd, left: number): void {
  const flags = (left === F_LCK.RDLCK ? O.RDONLY : O.WRONLY) | O.NONBLOCK | O.CLOEXEC;
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(`/proc/self/fd/${local}`), flags);
  if (fd >= 0) syscall('close', fd);
}

/** File locks. They need descriptors in place, and CAP_LEASE. */
export const fileLocks: TaskKind = {
  name: 'file-locks',
  obstacles,
  notices,
  capture,
  rebuild: { state: takeLocks },
};
