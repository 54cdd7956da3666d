/** Plain, complete, synchronous output: what has been printed has left the process when it ends. */

import { encodeText } from '../base/text.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { arenaAddress, trySyscall } from '../kernel/syscall.ts';

/** Writes to stdout. A reader that went away is no error. */
export function printOut(text: string): void {
  write(1, text);
}

/** Writes to stderr. */
export function printErr(text: string): void {
  write(2, text);
}

/** Whether a descriptor of ours is a terminal. */
export function isTerminal(fd: number): boolean {
  return trySyscall('ioctl', fd, TTY_IOCTL.TCGETS, arenaAddress) === 0;
}

let transient = false;

/** Shows a line on the terminal that is stderr, in place of the one shown before; '' takes it away. */
export function showTransient(text: string): void {
  if (text === '' && !transient) return;
  transient = false; // so that what is printed next does not clear this line again
  // Back to the first column, and clear to the end of the line; a line that is too long must not wrap.
  write(2, `\r\x1b[K\x1b[?7l${printable(text)}\x1b[?7h`);
  transient = text !== '';
}

function write(fd: number, text: string): void {
  if (transient) showTransient('');
  try {
    writeAll(fd, encodeText(text));
  } catch {
    // Nobody is there to read it, and there is nowhere else to report that.
  }
}

/**
 * Writes every byte, also to a pipe in non-blocking mode whose reader is slow.
 *
 * @throws the error of `write(2)`, as node:fs gives it
 */
export function writeAll(fd: number, bytes: Uint8Array): void {
  const { writeSync } = process.getBuiltinModule('node:fs'); // loaded only if something is to be said
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2); // two milliseconds
    }
  }
}

/** Makes control characters visible, so that a hostile file name neither breaks a line nor talks to the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (c) =>
    c === '\t' ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
