/** Terminals (include/uapi/asm-generic/termbits.h, termios.h): x86-64 and arm64; ppc64 orders termios otherwise. */

import { array, struct, u8, u16, u32, type ValueOf } from './struct.ts';

/** Control characters in the kernel's termios. */
export const NCCS = 19;

const flags = { iflag: u32, oflag: u32, cflag: u32, lflag: u32, line: u8, cc: array(u8, NCCS) } as const;

/** `struct termios`, of TCGETS and TIOCGLCKTRMIOS. */
export const Termios = struct(flags);
export type Termios = ValueOf<typeof Termios>;

/** `struct termios2`, of TCGETS2: with speeds in baud. */
export const Termios2 = struct({ ...flags, ispeed: u32, ospeed: u32 });
export type Termios2 = ValueOf<typeof Termios2>;

/** `struct winsize`, of TIOCGWINSZ. */
export const Winsize = struct({ rows: u16, cols: u16, xpixel: u16, ypixel: u16 });
export type Winsize = ValueOf<typeof Winsize>;
