/** `/proc/locks` and the `lock:` lines of fdinfo (fs/locks.c, `lock_get_status()`). */

import { bigDecimal, decimal, hex, linesOf, malformed, words } from './common.ts';

/**
 * POSIX: fcntl, owned by a process. OFD: fcntl, owned by the open file. FLOCK, LEASE, and DELEG (a delegation of nfsd).
 */
export type FileLockKind = 'POSIX' | 'OFD' | 'FLOCK' | 'LEASE' | 'DELEG' | 'ACCESS' | 'UNKNOWN';

/** One file lock or lease. */
export interface FileLock {
  /** The number at the line's start; blocked waiters have the number of the lock they wait for. */
  readonly id: number;
  /** A waiter (`->`), not a holder. */
  readonly blocked: boolean;
  readonly kind: FileLockKind;
  /** `ADVISORY`; for leases `ACTIVE`, `BREAKING` or `BREAKER`; `MANDATORY` and `MSNFS` in kernels before 5.15. */
  readonly mode: string;
  readonly type: 'READ' | 'WRITE' | 'RW' | 'NONE' | 'UNLCK';
  /** Owner in the reader's pid namespace; 0 when outside of it, -1 for OFD locks. */
  readonly pid: number;
  /**
   * Device number of the superblock; for btrfs and overlayfs it differs from what `stat` gives. These three fields are
   * 0 for `<none>:0`.
   */
  readonly devMajor: number;
  readonly devMinor: number;
  readonly ino: bigint;
  readonly start: bigint;
  /** Last byte of the range; `undefined` for `EOF`. */
  readonly end: bigint | undefined;
}

const FILE = '/proc/locks';
const KINDS: readonly string[] = ['POSIX', 'FLOCK', 'LEASE', 'DELEG', 'ACCESS', 'UNKNOWN'] satisfies FileLockKind[];
const TYPES: readonly string[] = ['READ', 'WRITE', 'RW', 'NONE', 'UNLCK'] satisfies FileLock['type'][];

/** Parses `/proc/locks`. Throws `kernel` for another format. */
export function parseLocks(bytes: Uint8Array): FileLock[] {
  return linesOf(bytes).map(parseLockLine);
}

/** Parses one line, `1: POSIX  ADVISORY  WRITE 1234 fe:00:260104 0 EOF`. Throws `kernel` for another format. */
export function parseLockLine(line: string): FileLock {
  const f = words(line);
  const blocked = f[1] === '->';
  const [id, kind, mode, type, pid, where, start, end] = blocked ? [f[0], ...f.slice(2)] : f;
  const [major, minor, ino] = (where ?? '').split(':');
  const nowhere = major === '<none>';
  return {
    id: decimal(id?.replace(/:$/, ''), FILE),
    blocked,
    kind: lockKind(kind, line),
    mode: mode ?? '',
    type: lockType(type, line),
    pid: decimal(pid, FILE),
    devMajor: nowhere ? 0 : hex(major, FILE),
    devMinor: nowhere ? 0 : hex(minor, FILE),
    ino: nowhere ? 0n : bigDecimal(ino, FILE),
    start: bigDecimal(start, FILE),
    end: end === 'EOF' ? undefined : bigDecimal(end, FILE),
  };
}

function lockKind(word: string | undefined, line: string): FileLockKind {
  if (word === 'OFDLCK') return 'OFD';
  if (word === undefined || !KINDS.includes(word)) throw malformed(FILE, line);
  return word as FileLockKind;
}

function lockType(word: string | undefined, line: string): FileLock['type'] {
  if (word === undefined || !TYPES.includes(word)) throw malformed(FILE, line);
  return word as FileLock['type'];
}
