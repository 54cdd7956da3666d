/**
 * FIFOs and terminals: files with a name in a file system and state of their own. Images hold two entries for each, one
 * for its state and, for its name and flags, one as a regular file.
 */
import { type LocalFd, localFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import { FdTypes, type RegFileEntry } from '../images/schema/files.ts';
import { O } from '../kernel/constants/files.ts';
import { SyscallError } from '../kernel/syscall.ts';
import { type PlaceIfAny, tryOpenAt } from '../namespaces/places.ts';
import { captureRegular } from './regfile.ts';

/**
 * Flags that must not take effect a second time, and flags that are set later. A pipe cannot be opened with O_DIRECT
 * (do_dentry_open() in fs/open.c), but fcntl(2) sets it.
 */
const NOT_AGAIN = O.CREAT | O.EXCL | O.TRUNC | O.ASYNC | O.DIRECT;

/** Adds the regular-file entry of a named special file and returns its ID. */
export function captureName(file: OpenFile, context: DumpContext): number {
  const id = context.newFileId();
  context.addFile({ type: FdTypes.REG, id, reg: captureRegular(file, id, context) });
  return id;
}

/** The regular-file entry that belongs to a special file. @throws StasisError (image) if there is none */
export function nameEntry(regularId: number, context: RestoreContext): RegFileEntry {
  const reg = context.fileEntries.get(regularId)?.reg;
  if (reg) return reg;
  const reason = `there is no regular file ${regularId}, which another file refers to for its name`;
  throw new StasisError({ kind: 'image', resource: 'files.img', reason });
}

/** Opens a path with the flags a file had, but never as the controlling terminal. @throws SyscallError */
export function openAs(path: string, flags: number, place?: PlaceIfAny): LocalFd {
  const fd = tryOpenAt(place, path, (flags & ~NOT_AGAIN) | O.NOCTTY);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: path });
  return localFd(fd);
}

/**
 * Opens the file behind one of our descriptors again: a new open file description with `flags`. @throws SyscallError
 */
export function reopen(local: LocalFd, flags: number): LocalFd {
  return openAs(`/proc/self/fd/${local}`, flags);
}
