/** Terminal settings: the kernel's structs and the image's messages. Pure. */
import type { InputOf } from '../../../images/message.ts';
import type { TermiosEntry, termiosEntry, WinsizeEntry } from '../../../images/schema/tty.ts';
import { NCCS, type Termios, type Winsize } from '../../../kernel/layouts/tty.ts';

/**
 * The message for a `struct termios`. Its c_cc has a uint32 for each character, but CRIU copies the bytes as they are,
 * four to a word, into the first words; the others it leaves as they happen to be. Ours are 0.
 */
export function termiosMessage(termios: Termios): InputOf<typeof termiosEntry> {
  const words = new Uint32Array(NCCS);
  termios.cc.forEach((character, i) => {
    words[i >> 2] = ((words[i >> 2] as number) | (character << (8 * (i & 3)))) >>> 0;
  });
  const { iflag, oflag, cflag, lflag, line } = termios;
  // TCGETS tells no speeds but those coded in c_cflag.
  const speeds = { c_ispeed: 0, c_ospeed: 0 };
  return { c_iflag: iflag, c_oflag: oflag, c_cflag: cflag, c_lflag: lflag, c_line: line, ...speeds, c_cc: [...words] };
}

/** The `struct termios` of a message. */
export function termiosOf(entry: TermiosEntry): Termios {
  const cc = Array.from({ length: NCCS }, (_, i) => ((entry.c_cc[i >> 2] ?? 0) >>> (8 * (i & 3))) & 0xff);
  const { c_iflag: iflag, c_oflag: oflag, c_cflag: cflag, c_lflag: lflag, c_line: line } = entry;
  return { iflag, oflag, cflag, lflag, line, cc };
}

/** The message for a `struct winsize`. */
export function winsizeMessage(size: Winsize): WinsizeEntry {
  return { ws_row: size.rows, ws_col: size.cols, ws_xpixel: size.xpixel, ws_ypixel: size.ypixel };
}

/** The `struct winsize` of a message. */
export function winsizeOf(entry: WinsizeEntry): Winsize {
  return { rows: entry.ws_row, cols: entry.ws_col, xpixel: entry.ws_xpixel, ypixel: entry.ws_ypixel };
}
