/** Errors (include/uapi/asm-generic/errno-base.h, errno.h; x86, arm64 and ppc64le agree). */

/** Those that the code branches on. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  ENOSPC: 28,
  ESPIPE: 29,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOMSG: 42,
  ENOPROTOOPT: 92,
  EBADFD: 77,
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENOTCONN: 107,
  EINPROGRESS: 115,
  ECONNREFUSED: 111,
} as const;

/** The result of a call that goes on through restart_syscall(2); a program never sees it. */
export const ERESTART_RESTARTBLOCK = 516;
