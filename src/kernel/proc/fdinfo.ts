/**
 * `/proc/PID/fdinfo/FD` (fs/proc/fd.c, `seq_show()`): common lines, the locks of the file, then the lines of the file's
 * own `show_fdinfo()`, which show the kind of the file.
 */

import type { StasisError } from '../../base/errors.ts';
import { Part } from '../../base/part.ts';
import { bigDecimal, decimal, linesOf, malformed } from './common.ts';
import type { FdDetail } from './fddetail.ts';
import { type FileLock, parseLockLine } from './locks.ts';

// Files on disk have no lines of their own.
const DETAILS = new Part(() => require('./fddetail.ts') as typeof import('./fddetail.ts'));

const NO_DETAIL: FdDetail = { kind: 'none' };

/** An open file description, as fdinfo shows it. */
export interface FdInfo {
  /** File position; negative values exist (files opened with O_PATH have 0). */
  readonly pos: bigint;
  /** Open flags and status flags, `O_CLOEXEC` among them when the descriptor closes on exec. */
  readonly flags: number;
  /** Mount the file was opened through; -1 when the kernel does not say (before 3.15). */
  readonly mntId: number;
  /** Since 5.14. */
  readonly ino: bigint | undefined;
  /** Locks held on the inode through this file or by its process. */
  readonly locks: readonly FileLock[];
  readonly detail: FdDetail;
}

const FILE = '/proc/PID/fdinfo';

/** What the first two lines begin with, as bytes. */
const POS = bytesOf('pos:\t');
const FLAGS = bytesOf('flags:\t');
const NEWLINE = 10;
const ZERO = 48;
const MINUS = 45;

function bytesOf(text: string): readonly number[] {
  return Array.from(text, (char) => char.charCodeAt(0));
}

/**
 * Parses the first two lines only, `pos` and `flags`, which every file has and a dump needs more often than the rest.
 * The digits are read one by one, for speed: a dump calls this for every descriptor.
 */
export function parseFdHead(bytes: Uint8Array): { readonly pos: number; readonly flags: number } {
  let at = skip(bytes, 0, POS);
  const isNegative = bytes[at] === MINUS;
  if (isNegative) at++;
  const first = bytes.indexOf(NEWLINE, at);
  const second = bytes.indexOf(NEWLINE, first + 1);
  if (second < 0) throw noHead();
  const pos = digits(bytes, at, first, 10);
  return { pos: isNegative ? -pos : pos, flags: digits(bytes, skip(bytes, first + 1, FLAGS), second, 8) };
}

/** Where the bytes go on behind a word. */
function skip(bytes: Uint8Array, at: number, word: readonly number[]): number {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) throw noHead();
  return at + word.length;
}

function digits(bytes: Uint8Array, from: number, to: number, base: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = (bytes[i] as number) - ZERO;
    if (digit < 0 || digit >= base) throw noHead();
    value = value * base + digit;
  }
  if (to === from) throw noHead();
  return value;
}

function noHead(): StasisError {
  return malformed(FILE, 'no pos or flags');
}

/** Parses one fdinfo file. Throws `kernel` for another format. */
export function parseFdInfo(bytes: Uint8Array): FdInfo {
  let pos: bigint | undefined;
  let flags: number | undefined;
  let mntId = -1;
  let ino: bigint | undefined;
  const locks: FileLock[] = [];
  const rest: string[] = [];
  for (const line of linesOf(bytes)) {
    if (line.startsWith('pos:\t')) pos = bigDecimal(line.slice(5).trim(), FILE);
    else if (line.startsWith('flags:\t')) flags = Number.parseInt(line.slice(7), 8);
    else if (line.startsWith('mnt_id:\t')) mntId = decimal(line.slice(8), FILE);
    else if (line.startsWith('ino:\t')) ino = bigDecimal(line.slice(5), FILE);
    else if (line.startsWith('lock:\t')) locks.push(parseLockLine(line.slice(6)));
    else rest.push(line);
  }
  if (pos === undefined || flags === undefined || !Number.isSafeInteger(flags))
    throw malformed(FILE, 'no pos or flags');
  return { pos, flags, mntId, ino, locks, detail: rest.length === 0 ? NO_DETAIL : DETAILS.load().parseFdDetail(rest) };
}
