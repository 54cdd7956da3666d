/**
 * `/proc/PID/fdinfo/FD` (fs/proc/fd.c, `seq_show()`): common lines, the locks of the file, then the lines of the file's
 * own `show_fdinfo()`, which show the kind of the file.
 */

import { bigDecimal, decimal, latin1, linesOf, malformed } from './common.ts';
import { type FdDetail, parseFdDetail } from './fddetail.ts';
import { type FileLock, parseLockLine } from './locks.ts';

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

/**
 * Parses the first two lines only, `pos` and `flags`, which every file has and a dump needs more often than the rest.
 */
export function parseFdHead(bytes: Uint8Array): { readonly pos: number; readonly flags: number } {
  const text = latin1(bytes, 0, Math.min(bytes.length, 80));
  const first = text.indexOf('\n');
  const second = text.indexOf('\n', first + 1);
  if (!text.startsWith('pos:\t') || !text.startsWith('flags:\t', first + 1) || second < 0) {
    throw malformed(FILE, 'no pos or flags');
  }
  return { pos: Number(text.slice(5, first)), flags: Number.parseInt(text.slice(first + 8, second), 8) };
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
  return { pos, flags, mntId, ino, locks, detail: parseFdDetail(rest) };
}
