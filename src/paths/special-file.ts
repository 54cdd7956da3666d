/**
 * Files that have a name in a file system but whose state is not in it: FIFOs and terminals. Images hold them twice, as
 * what they are and, for name and flags, as a regular file beside it.
 */
import { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import { FdTypes, type RegFileEntry } from '../images/schema/files.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { arenaPath, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { captureRegular } from './regfile.ts';

/** Flags that take effect when a file is opened for the first time only, or are set later. */
const NOT_AGAIN = O.CREAT | O.EXCL | O.TRUNC | O.ASYNC;

/** Adds the regular-file entry of a named special file; answers its id. */
export function captureName(file: OpenFile, context: DumpContext): number {
  const id = context.newFileId();
  context.addFile({ type: FdTypes.REG, id, reg: captureRegular(file, id, context) });
  return id;
}

/** The regular-file entry that belongs to a special file. @throws StasisError (image) if there is none */
export function nameEntry(regularId: number, context: RestoreContext): RegFileEntry {
  const reg = context.files.get(regularId)?.reg;
  if (reg) return reg;
  const reason = `there is no regular file ${regularId}, which another file refers to for its name`;
  throw new StasisError({ kind: 'image', resource: 'files.img', reason });
}

/** Opens a path with the flags a file had, never as controlling terminal. @throws SyscallError */
export function openAs(path: string, flags: number): number {
  const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), (flags & ~NOT_AGAIN) | O.NOCTTY | O.CLOEXEC);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: path });
  return fd;
}

/** Opens the file behind one of our descriptors once more: another open file description, with `flags`. */
export function reopen(local: number, flags: number): number {
  return openAs(`/proc/self/fd/${local}`, flags);
}
