/** Opens files as their reg_file_entry says. This is the half of the restore; regfile.ts is the half of the dump. */

import { type LocalFd, localFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { RestoreContext } from '../contract/contract.ts';
import type { RegFileEntry } from '../images/schema/files.ts';
import { O, S_IF, SEEK } from '../kernel/constants/files.ts';
import { duplicate } from '../kernel/files.ts';
import { type FileStatus, statusOf } from '../kernel/statx.ts';
import { Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { placeOfEntry } from '../namespaces/places.ts';
import { setFlagsAndOwner } from '../support/fown.ts';
import { inheritedFd } from '../support/inherited.ts';
import { buildIdWords } from './build-id.ts';
import { openPath } from './open-path.ts';
import { nameHere } from './proc-names.ts';
import { reader } from './regfile.ts';
import { openRemapped } from './remap.ts';

/** Stands for no position: the file is not seekable, or seeking is not permitted. */
const NOWHERE = 0xffff_ffff_ffff_ffffn;

/**
 * Opens a file as its entry says: its flags, position and owner. The caller owns the descriptor. With `flags` it is
 * opened with these flags, without position and owner (for a mapping, the executable, cwd and root).
 * @throws StasisError kind 'conflict' when the file is not there, or not the one that was saved
 */
export function openRegular(entry: RegFileEntry, context: RestoreContext, flags?: number): LocalFd {
  const inherited = inheritedFile(entry, context);
  if (inherited !== undefined) return localFd(duplicate(inherited, 3).release());
  const wanted = flags ?? entry.flags;
  using fd = new Fd(openEntry(entry, context, wanted));
  check(entry, fd.number, context);
  if ((wanted & O.PATH) !== 0) return fd.release();
  if (flags !== undefined) {
    setFlagsAndOwner(fd.number, flags, NOBODY, context);
    return fd.release();
  }
  if (entry.pos !== 0n && entry.pos !== NOWHERE) seek(entry, fd.number);
  setFlagsAndOwner(fd.number, wanted, entry.fown, context);
  return fd.release();
}

const NOBODY = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 } as const;

/** `--inherit-fd`: CRIU's key is the path without its slash, or the name of an external file. */
function inheritedFile(entry: RegFileEntry, context: RestoreContext): LocalFd | undefined {
  if (context.options.inheritFd.size === 0) return undefined;
  return inheritedFd(context, entry.ext ? entry.name : entry.name.slice(1));
}

function openEntry(entry: RegFileEntry, context: RestoreContext, flags: number): LocalFd {
  if (entry.ext) {
    throw new StasisError({
      kind: 'usage',
      code: 'FILE_EXTERNAL',
      resource: entry.name,
      reason: 'the file was left to the user when it was dumped',
      remedy: `--inherit-fd fd[N]:${entry.name}`,
    });
  }
  const name = nameHere(entry, context);
  return openRemapped(entry, context, flags) ?? openPath(name, flags, name, placeOfEntry(entry, context));
}

function seek(entry: RegFileEntry, fd: LocalFd): void {
  const result = trySyscall('lseek', fd, BigInt.asIntN(64, entry.pos), SEEK.SET);
  if (result >= 0 || BigInt.asIntN(64, entry.pos) < 0n) return;
  throw new SyscallError('lseek', -result, { resource: `${entry.name} to ${entry.pos}` });
}

/** Checks that this is the file that was saved. @throws StasisError (conflict) */
function check(entry: RegFileEntry, fd: LocalFd, context: RestoreContext): void {
  if (entry.size === undefined && entry.mode === undefined) return;
  const status = statusOf(fd);
  checkMode(entry, status, context.options.skipFileRwxCheck);
  if (entry.size !== undefined && (status.mode & S_IF.MT) === S_IF.REG && BigInt(status.size) !== entry.size) {
    throw changed(entry, `it has ${status.size} bytes, and had ${entry.size} when it was dumped`);
  }
  if (context.options.fileValidation === 'buildid' && entry.build_id.length > 0) checkBuildId(entry, fd);
}

function checkMode(entry: RegFileEntry, status: FileStatus, skipPermissions: boolean): void {
  if (entry.mode === undefined) return;
  const mask = skipPermissions ? ~0o777 : -1;
  if ((status.mode & mask) === (entry.mode & mask)) return;
  const octal = (mode: number): string => `0${mode.toString(8)}`;
  const sameType = (status.mode & S_IF.MT) === (entry.mode & S_IF.MT);
  throw changed(
    entry,
    `it has mode ${octal(status.mode)}, and had ${octal(entry.mode)} when it was dumped`,
    sameType ? 'put the permissions back, or use --skip-file-rwx-check' : undefined,
  );
}

/** Compares build IDs, if the descriptor can be read. Otherwise nothing is compared, as in CRIU. */
function checkBuildId(entry: RegFileEntry, fd: LocalFd): void {
  const words = buildIdWords(reader(fd));
  if (words.length === 0) return;
  if (words.length === entry.build_id.length && words.every((word, i) => word === entry.build_id[i])) return;
  throw changed(entry, `it has build-id ${digits(words)}, and had ${digits(entry.build_id)} when it was dumped`);
}

/** A build ID as `file` and `readelf` print it. */
function digits(words: readonly number[]): string {
  return Buffer.from(new Uint32Array(words).buffer).toString('hex');
}

function changed(entry: RegFileEntry, reason: string, remedy = 'put it back as it was'): StasisError {
  return new StasisError({ kind: 'conflict', code: 'FILE_CHANGED', resource: entry.name, reason, remedy });
}
