/**
 * Names and meanings of the errno values that occur in practice. node:util knows all of them, but takes a millisecond
 * to load.
 */

const KNOWN: Readonly<Record<number, string>> = {
  1: 'EPERM: operation not permitted',
  2: 'ENOENT: no such file or directory',
  3: 'ESRCH: no such process',
  4: 'EINTR: interrupted system call',
  5: 'EIO: i/o error',
  6: 'ENXIO: no such device or address',
  7: 'E2BIG: argument list too long',
  9: 'EBADF: bad file descriptor',
  10: 'ECHILD: no child processes',
  11: 'EAGAIN: resource temporarily unavailable',
  12: 'ENOMEM: not enough memory',
  13: 'EACCES: permission denied',
  14: 'EFAULT: bad address in system call argument',
  16: 'EBUSY: resource busy or locked',
  17: 'EEXIST: file already exists',
  20: 'ENOTDIR: not a directory',
  21: 'EISDIR: illegal operation on a directory',
  22: 'EINVAL: invalid argument',
  25: 'ENOTTY: inappropriate ioctl for device',
  28: 'ENOSPC: no space left on device',
  38: 'ENOSYS: function not implemented',
};

/** `-1` or `1` → `EPERM: operation not permitted`. */
export function describeErrno(errno: number): string {
  const positive = Math.abs(errno);
  const known = KNOWN[positive];
  if (known) return known;
  const other = process.getBuiltinModule('node:util').getSystemErrorMap().get(-positive);
  return other ? `${other[0]}: ${other[1]}` : `errno ${positive}`;
}

/** `1` → `EPERM`; for an unknown number the description that {@link describeErrno} has for it. */
export function errnoName(errno: number): string {
  return describeErrno(errno).split(':', 1)[0] as string; // there is always a first piece
}
