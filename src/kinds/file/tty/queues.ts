/**
 * The unread bytes of a pseudoterminal, in both directions. The kernel has no way to peek, so they are read and written
 * back at once, while the task that has both sides is frozen.
 */
import type { LocalFd } from '../../../base/brands.ts';
import { O, POLL } from '../../../kernel/constants/files.ts';
import { CC, TERMIOS, TTY_IOCTL } from '../../../kernel/constants/tty.ts';
import { NCCS, Termios } from '../../../kernel/layouts/tty.ts';
import { nap } from '../../../kernel/nap.ts';
import { hangUpsAndErrors } from '../../../kernel/poll.ts';
import { Fd, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { reopen } from '../../../paths/special-file.ts';
import { getStruct, setInt, setStruct, tryGetInt } from './ioctl.ts';

/** The bytes readable from the slave (`input`) and from the master (`output`). */
export interface Queues {
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

/** In bytes, more than a pty can hold (drivers/tty/tty_buffer.c). An image with more is refused. */
export const MAX_QUEUE = 128 * 1024;

/** Copies both queues, and leaves them as they were. */
export function copyQueues(master: LocalFd, slave: LocalFd): Queues {
  using own = openBeside(master, slave);
  const output = readAll(master);
  const input = readInput(own.number);
  const queues = { input, output };
  if (input.length + output.length > 0) fillQueues(master, slave, queues);
  return queues;
}

/**
 * Whether the slave was opened, and closed again by everybody (TTY_OTHER_CLOSED in drivers/tty/pty.c). The master is
 * then hung up, once it has been read empty, until the slave is opened again.
 */
export function isSlaveClosed(master: LocalFd): boolean {
  return (hangUpsAndErrors(master) & POLL.HUP) !== 0;
}

/** A new open file of the slave, which may be locked. @throws SyscallError */
export function openPeer(master: LocalFd): Fd {
  const locked = tryGetInt(master, 'TIOCGPTLCK') > 0;
  if (locked) setInt(master, 'TIOCSPTLCK', 0);
  try {
    return new Fd(syscall('ioctl', master, TTY_IOCTL.TIOCGPTPEER, O.RDWR | O.NOCTTY));
  } finally {
    if (locked) setInt(master, 'TIOCSPTLCK', 1);
  }
}

/** Opens the slave again without blocking; the task's own open file description is not changed. */
function openBeside(master: LocalFd, slave: LocalFd): Fd {
  const locked = tryGetInt(master, 'TIOCGPTLCK') > 0;
  if (locked) setInt(master, 'TIOCSPTLCK', 0);
  try {
    return new Fd(reopen(slave, O.RDWR | O.NONBLOCK));
  } finally {
    if (locked) setInt(master, 'TIOCSPTLCK', 1);
  }
}

/**
 * Reads all input. In canonical mode only complete lines can be read; the beginning of the last line needs the mode
 * switched off.
 */
function readInput(slave: LocalFd): Uint8Array {
  const lines = readAll(slave);
  const before = getStruct(slave, 'TCGETS', Termios);
  if (!(before.lflag & TERMIOS.ICANON)) return lines;
  setStruct(slave, 'TCSETS', Termios, { ...before, lflag: before.lflag & ~TERMIOS.ICANON });
  try {
    const rest = readAll(slave);
    return rest.length === 0 ? lines : new Uint8Array(Buffer.concat([lines, rest]));
  } finally {
    setStruct(slave, 'TCSETS', Termios, before);
  }
}

/** Reads as much as FIONREAD reports, so that it never blocks. */
function readAll(fd: LocalFd): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let waiting = tryGetInt(fd, 'FIONREAD'); waiting > 0; waiting = tryGetInt(fd, 'FIONREAD')) {
    const piece = new Uint8Array(waiting);
    const got = trySyscall('read', fd, piece, piece.length);
    if (got <= 0) break;
    pieces.push(piece.subarray(0, got));
  }
  return new Uint8Array(Buffer.concat(pieces));
}

/**
 * Writes bytes into both queues. The terminal processed them when they were first written, so echo, mapping and signal
 * characters are switched off. Bytes that do not fit are lost.
 */
export function fillQueues(master: LocalFd, slave: LocalFd, { input, output }: Queues): void {
  using own = openBeside(master, slave);
  const before = getStruct(slave, 'TCGETS', Termios);
  // A control character of 0 is disabled. Canonical mode stays on, so that ends of lines are recorded.
  const cc = Array.from({ length: NCCS }, (_, i) => (i === CC.VMIN ? 1 : 0));
  const canonical = before.lflag & TERMIOS.ICANON;
  setStruct(slave, 'TCSETS', Termios, { ...before, iflag: 0, oflag: 0, lflag: canonical, cc });
  try {
    write(own.number, output);
    write(master, input);
    awaitBytes(master, output.length);
    const lines = canonical ? input.lastIndexOf(10) + 1 : input.length;
    awaitBytes(own.number, lines);
    if (lines < input.length) nap(2_000_000);
  } finally {
    setStruct(slave, 'TCSETS', Termios, before);
  }
}

function write(fd: LocalFd, bytes: Uint8Array): void {
  if (bytes.length > 0) trySyscall('write', fd, bytes, bytes.length);
}

/** Waits until the bytes have arrived, which a worker of the kernel moves: on a busy machine it may come late. */
function awaitBytes(fd: LocalFd, bytes: number): void {
  for (let tries = 0; tries < 3000 && tryGetInt(fd, 'FIONREAD') < bytes; tries++) nap(100_000);
}
