/**
 * Segments of other IPC namespaces. A mapping tells the ID of its segment, and of namespaces each has its own IDs: two
 * segments may have the same one. All their files lie in one file system of the kernel's own, and their inode
 * numbers are the IDs too (ipc/shm.c, `newseg()`), but each was made at its own moment.
 */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { SHM } from '../../kernel/constants/memory.ts';
import { mapFile, type ProcVma } from '../../kernel/proc/smaps.ts';
import type { SysvSegment } from '../../kernel/proc/sysvipc.ts';
import { birthOf } from '../../kernel/statx.ts';
import { trySyscall } from '../../kernel/syscall.ts';

/** Whether a mapping in a process is of the segment of the current namespace that has its ID. */
export function isOfSegment(pid: number, vma: ProcVma, segment: SysvSegment): boolean {
  const file = birthOf(mapFile(pid, vma));
  // Huge pages: their file system knows no such time.
  if (!file) return true;
  if (file.size !== segment.size) return false;
  const age = segment.changed - Number(file.btime.sec);
  // Both are written when a segment is made, the other time also when its owner is set. Without that a foreign segment
  // of the same ID and size would have to be as old as this one to the second.
  if (age === 0 || age === 1) return true;
  const own = birthOfOwn(segment);
  return own === undefined || (own.sec === file.btime.sec && own.nsec === file.btime.nsec);
}

/** When the file of a segment of the current namespace was made. It is attached for that, for a moment. */
function birthOfOwn({ id, size }: SysvSegment): { readonly sec: bigint; readonly nsec: number } | undefined {
  const at = trySyscall('shmat', id, 0, SHM.RDONLY);
  if (at < 0) return undefined;
  const found = birthOf(mapFile(process.pid, { start: at, end: at + Math.ceil(size / PAGE_SIZE) * PAGE_SIZE }));
  trySyscall('shmdt', at);
  return found?.btime;
}
