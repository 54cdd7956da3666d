/** Where files have holes. */
import type { LocalFd } from '../base/brands.ts';
import { SEEK } from './constants/files.ts';
import { ERRNO, SyscallError, syscall, trySyscall } from './syscall.ts';

/**
 * The parts of a file that hold data (SEEK_DATA, SEEK_HOLE); all of it where the file system does not support holes.
 */
export function* dataRanges(local: LocalFd, size: number): Generator<{ start: number; end: number }> {
  for (let at = 0; at < size; ) {
    const start = trySyscall('lseek', local, at, SEEK.DATA);
    if (start === -ERRNO.ENXIO) return;
    if (start < 0) {
      if (at > 0) throw new SyscallError('lseek', -start);
      yield { start: 0, end: size };
      return;
    }
    const end = Math.min(size, syscall('lseek', local, start, SEEK.HOLE));
    if (end > start) yield { start, end };
    at = end;
  }
}
