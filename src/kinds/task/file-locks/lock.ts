/** Converts locks from the form of /proc to the form of images. Pure. */
import type { InputOf } from '../../../images/message.ts';
import type { FileLockEntry, fileLockEntry } from '../../../images/schema/files.ts';
import { F, F_LCK, LOCK } from '../../../kernel/constants/files.ts';
import type { FileLock } from '../../../kernel/proc/locks.ts';

/** `file_lock_entry.flag`: what kind of lock it is. */
export const LockKind = { POSIX: 1, FLOCK: 2, OFD: 4, LEASE: 8 } as const;

/**
 * Bit of `file_lock_entry.type` of a lease: somebody waits for the lease to be given up. The other bits hold the type
 * it is to become.
 */
export const LEASE_BREAKING = 4;

const KINDS: Readonly<Record<string, number>> = LockKind;

/**
 * The file_lock_entry of a lock that task `pid` holds through descriptor `fd`; undefined for kinds that images cannot
 * hold.
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

/** The system call that takes a lock. */
export type LockCall =
  | { readonly call: 'flock'; readonly operation: number }
  | { readonly call: 'fcntl'; readonly command: number; readonly type: number; readonly range: boolean };

/** The call that takes a lock again, without waiting; undefined for an invalid entry. */
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
