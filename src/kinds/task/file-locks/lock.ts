/** Locks as /proc and the images write them. Pure. */
import type { InputOf } from '../../../images/message.ts';
import type { FileLockEntry, fileLockEntry } from '../../../images/schema/files.ts';
import { F, F_LCK, LOCK } from '../../../kernel/constants/files.ts';
import type { FileLock } from '../../../kernel/proc/locks.ts';

/** `file_lock_entry.flag`: what kind of lock it is. */
export const LockKind = { POSIX: 1, FLOCK: 2, OFD: 4, LEASE: 8 } as const;

/** In `file_lock_entry.type` of a lease: somebody waits for it to be given up; the other bits say what is to be left of it. */
export const LEASE_BREAKING = 4;

const KINDS: Readonly<Record<string, number>> = LockKind;

/**
 * The image's entry of a lock that task `pid` holds through descriptor `fd`; undefined for kinds that no image has a
 * place for.
 */
export function lockEntry(lock: FileLock, pid: number, fd: number): InputOf<typeof fileLockEntry> | undefined {
  const flag = KINDS[lock.kind];
  const type = typeOf(lock);
  if (flag === undefined || type === undefined) return undefined;
  const len = lock.end === undefined ? 0n : lock.end + 1n - lock.start;
  return { flag, type, pid, fd, start: lock.start, len };
}

function typeOf(lock: FileLock): number | undefined {
  const breaking = lock.kind === 'LEASE' && lock.mode === 'BREAKING' ? LEASE_BREAKING : 0;
  switch (lock.type) {
    case 'READ':
      return F_LCK.RDLCK | breaking;
    case 'WRITE':
      return F_LCK.WRLCK | breaking;
    case 'UNLCK':
      return F_LCK.UNLCK | breaking;
    default:
      return undefined;
  }
}

/** The call that takes a lock again. */
export type LockCall =
  | { readonly call: 'flock'; readonly operation: number }
  | { readonly call: 'fcntl'; readonly command: number; readonly type: number; readonly range: boolean };

/** How a lock is taken again, without waiting; undefined for an entry that makes no sense. */
export function lockCall(entry: FileLockEntry): LockCall | undefined {
  switch (entry.flag) {
    case LockKind.FLOCK:
      return { call: 'flock', operation: flockOperation(entry.type) | LOCK.NB };
    case LockKind.POSIX:
      return { call: 'fcntl', command: F.SETLK, type: entry.type, range: true };
    case LockKind.OFD:
      return { call: 'fcntl', command: F.OFD_SETLK, type: entry.type, range: true };
    case LockKind.LEASE:
      return { call: 'fcntl', command: F.SETLEASE, type: entry.type & ~LEASE_BREAKING, range: false };
    default:
      return undefined;
  }
}

function flockOperation(type: number): number {
  if ((type & LOCK.MAND) !== 0) return type;
  if (type === F_LCK.RDLCK) return LOCK.SH;
  return type === F_LCK.WRLCK ? LOCK.EX : LOCK.UN;
}
