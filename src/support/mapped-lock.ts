/**
 * Locks of open files that only a mapping keeps alive. flock(2) locks the open file description, which exists as long
 * as it is mapped, even when no process has a descriptor for it any more. Every Java virtual machine has such a lock.
 * CRIU's images identify a lock by its descriptor, so these are recorded in file notes, for the mapped file.
 */
import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { flag, object } from '../images/form.ts';
import { notedFile, noteFile } from './file-notes.ts';

const KIND = 'mapped-lock';

/** `exclusive` as LOCK_EX, otherwise as LOCK_SH. */
export interface MappedLock {
  readonly exclusive: boolean;
}

/** Records the lock on a mapped file, by its ID in files.img. @throws StasisError (io) */
export function noteMappedLock(context: DumpContext, id: number, { exclusive }: MappedLock): void {
  noteFile(context, KIND, id, { exclusive });
}

/** The recorded lock of a mapped file; undefined if there is none. @throws StasisError (image) */
export function mappedLockOf(context: RestoreContext, id: number): MappedLock | undefined {
  return notedFile(context, KIND, id, object({ exclusive: flag }));
}
