/**
 * Bytes that wait in a pseudoterminal, on their way to either side. The kernel lets nobody look at them: they are read,
 * and put back at once, while the task that has both sides stands still.
 */
import type { LocalFd } from '../../../base/brands.ts';
import { O } from '../../../kernel/constants/files.ts';
import { TERMIOS } from '../../../kernel/constants/tty.ts';
import { NCCS, Termios } from '../../../kernel/layouts/tty.ts';
import { arenaAddress, arenaView, Fd, trySyscall } from '../../../kernel/syscall.ts';
import { reopen } from '../../../paths/special-file.ts';
import { getStruct, setInt, setStruct, tryGetInt } from './ioctl.ts';

/** What can be read from the slave, and what from the master. */
export interface Queues {
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

/** More than fits into a pty (drivers/tty/tty_buffer.c); an image that says so is not believed. */
export const MAX_QUEUE = 128 * 1024;

/** Index of VMIN in the control characters. */
const VMIN = 6;

/** Copies of both queues. They are as before when this returns. */
export function copyQueues(master: LocalFd, slave: LocalFd): Queues {
  using own = openBeside(master, slave);
  const output = readAll(master);
  const input = readInput(own.number);
  const queues = { input, output };
  if (input.length + output.length > 0) fillQueues(master, slave, queues);
  return queues;
}

/** Another open file of the slave, which does not block; the task's own stays as it is. */
function openBeside(master: LocalFd, slave: LocalFd): Fd {
  const locked = tryGetInt(master, 'TIOCGPTLCK') > 0;
  if (locked) setInt(master, 'TIOCSPTLCK', 0);
  try {
    return new Fd(reopen(slave, O.RDWR | O.NONBLOCK));
  } finally {
    if (locked) setInt(master, 'TIOCSPTLCK', 1);
  }
}

/** Whole lines, then, in canonical mode, the beginning of one, which is out of reach until the mode is left. */
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

/** As much as FIONREAD announces, so that it never blocks. */
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
 * Puts bytes into both queues. They were processed when they were written first: now nothing may be echoed, mapped, or
 * taken for an interrupt. Terminals never promised to deliver: what does not fit is lost.
 */
export function fillQueues(master: LocalFd, slave: LocalFd, { input, output }: Queues): void {
  using own = openBeside(master, slave);
  const before = getStruct(slave, 'TCGETS', Termios);
  // Control character 0 is none at all. Canonical mode stays, for the ends of lines.
  const cc = Array.from({ length: NCCS }, (_, i) => (i === VMIN ? 1 : 0));
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

/** A worker of the kernel carries bytes over: waits until they have arrived, but not for long. */
function awaitBytes(fd: LocalFd, bytes: number): void {
  for (let tries = 0; tries < 100 && tryGetInt(fd, 'FIONREAD') < bytes; tries++) nap(100_000);
}

function nap(nanoseconds: number): void {
  arenaView.setBigInt64(0, 0n, true);
  arenaView.setBigInt64(8, BigInt(nanoseconds), true);
  trySyscall('nanosleep', arenaAddress, 0);
}
