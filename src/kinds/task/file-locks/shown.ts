/** Reads the locks in the fdinfo of a descriptor. */
import type { OpenFile } from '../../../contract/contract.ts';
import { latin1 } from '../../../kernel/proc/common.ts';
import { parseFdInfo } from '../../../kernel/proc/fdinfo.ts';
import type { FileLock } from '../../../kernel/proc/locks.ts';

/**
 * The locks a task holds through a descriptor. The kernel shows a lock only in the fdinfo of its owner's descriptors.
 */
export function locksOf(file: OpenFile): readonly FileLock[] {
  const info = file.fdinfo();
  if (!latin1(info).includes('\nlock:')) return [];
  return parseFdInfo(info).locks.filter((lock) => !lock.blocked);
}
