/** Terminals (include/uapi/asm-generic/ioctls.h, termbits.h). What differs between architectures comes from arch/. */

export { CC, TERMIOS, TTY_IOCTL } from '../../arch/numbers.ts';

/** Major numbers of terminal devices. */
export const TTY_MAJOR = { VT: 4, CURRENT: 5, PTY_MASTER: 128, PTY_SLAVE: 136 } as const;
/** Masters and slaves have as many majors each. */
export const UNIX98_PTY_MAJOR_COUNT = 8;
