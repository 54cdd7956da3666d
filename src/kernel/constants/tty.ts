/** Terminals (include/uapi/asm-generic/ioctls.h, termbits.h). x86-64 and arm64; ppc64 has other numbers for most. */

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

/** Major numbers of terminal devices. */
export const TTY_MAJOR = { VT: 4, CURRENT: 5, PTY_MASTER: 128, PTY_SLAVE: 136 } as const;

/** `c_lflag` and others that matter when queued input is read back. */
export const TERMIOS = { ICANON: 0o2, ECHO: 0o10, ISIG: 0o1 } as const;

/** Indices of control characters. */
export const CC = { VMIN: 6 } as const;
