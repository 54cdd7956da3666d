/**
 * Locks that live through a mapping alone: flock(2) locks the open file, and that is there as long as it is mapped, though no
 * process has a descriptor for it any more. Every Java virtual machine has one. CRIU's images name a lock by its descriptor, so
 * these are noted beside them, with the mapped file.
 */
import type { DumpContext, Json, RestoreContext } from '../contract/contract.ts';
import { notedFile, noteFile } from './file-notes.ts';

const KIND = 'mapped-lock';

/** `exclusive` as LOCK_EX, otherwise as LOCK_SH. */
export interface MappedLock {
  readonly exclusive: boolean;
}

/** Remembers the lock on a mapped file, by its id in files.img. @throws StasisError (io) */
export function noteMappedLock(context: DumpContext, id: number, { exclusive }: MappedLock): void {
  noteFile(context, KIND, id, { exclusive });
}

/** The lock a mapped file is to have, if one was noted. @throws StasisError (image) */
export function mappedLockOf(context: RestoreContext, id: number): MappedLock | undefined {
  const value = notedFile(context, KIND, id);
  if (value === null || typeof value !== 'object') return undefined;
  return { exclusive: (value as { readonly exclusive?: Json }).exclusive === true };
}
