/** Flags of open files on x86-64 (include/uapi/asm-generic/fcntl.h). arm64 and ppc64 number some differently. */
export const OPEN_FLAGS = {
  RDONLY: 0,
  WRONLY: 0o1,
  RDWR: 0o2,
  ACCMODE: 0o3,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DSYNC: 0o10000,
  ASYNC: 0o20000,
  DIRECT: 0o40000,
  /** Set by the kernel for every 64-bit program. */
  LARGEFILE: 0o100000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  NOATIME: 0o1000000,
  CLOEXEC: 0o2000000,
  SYNC: 0o4010000,
  PATH: 0o10000000,
  /** Without the bit of DIRECTORY, which it includes in the C header. */
  TMPFILE_BIT: 0o20000000,
} as const;
