/**
 * Numbers of the kernel's interface that other architectures have otherwise. Those of x86-64 are the usual ones
 * (include/uapi/asm-generic/); arm64 differs in some of O, ppc64 in some of each table.
 */

/** Flags of open files. */
export const O = {
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

/** Flags of mmap(2). */
export const MAP = { '32BIT': 0x40, LOCKED: 0x2000, NORESERVE: 0x4000 } as const;

/** Flags of mlockall(2). */
export const MCL = { CURRENT: 1, FUTURE: 2, ONFAULT: 4 } as const;

/** Options of sockets, of level SOL_SOCKET. */
export const SO = {
  PASSCRED: 16,
  PEERCRED: 17,
  RCVLOWAT: 18,
  /** With the struct timeval of 64-bit programs. */
  RCVTIMEO: 20,
  SNDTIMEO: 21,
} as const;

/** Requests of ioctl(2): the directions that data goes, as the kernel has it, and where they are in the number. */
export const IOC = { DIRSHIFT: 30, NONE: 0, WRITE: 1, READ: 2 } as const;

/** Requests of terminals. */
export const TTY_IOCTL = {
  TCGETS: 0x5401,
  TCSETS: 0x5402,
  TCSETSW: 0x5403,
  TCSETSF: 0x5404,
  TIOCEXCL: 0x540c,
  TIOCNXCL: 0x540d,
  TIOCSCTTY: 0x540e,
  TIOCGPGRP: 0x540f,
  TIOCSPGRP: 0x5410,
  TIOCOUTQ: 0x5411,
  TIOCSTI: 0x5412,
  TIOCGWINSZ: 0x5413,
  TIOCSWINSZ: 0x5414,
  TIOCMGET: 0x5415,
  FIONREAD: 0x541b,
  TIOCPKT: 0x5420,
  FIONBIO: 0x5421,
  TIOCNOTTY: 0x5422,
  TIOCSETD: 0x5423,
  TIOCGETD: 0x5424,
  TIOCGSID: 0x5429,
  TCGETS2: 0x802c542a,
  TCSETS2: 0x402c542b,
  TIOCGPTN: 0x80045430,
  TIOCSPTLCK: 0x40045431,
  TIOCGDEV: 0x80045432,
  TIOCGPKT: 0x80045438,
  TIOCGPTLCK: 0x80045439,
  TIOCGEXCL: 0x80045440,
  TIOCGPTPEER: 0x5441,
  TIOCGLCKTRMIOS: 0x5456,
  TIOCSLCKTRMIOS: 0x5457,
} as const;

/** Bits of `c_lflag`, and indices of control characters. */
export const TERMIOS = { ICANON: 0o2, ECHO: 0o10, ISIG: 0o1 } as const;
export const CC = { VMIN: 6 } as const;

/** Whether `struct epoll_event` has no padding, so that 32-bit programs have the same. */
export const EPOLL_EVENT_PACKED = true;

/**
 * The end of the addresses that programs get without asking for higher ones (DEFAULT_MAP_WINDOW in
 * arch/x86/include/asm/page_64_types.h). The last page before it stays free.
 */
export const USER_END = 1n << 47n;
