/** The error of page contents that cannot be written. */
import { StasisError } from '../../base/errors.ts';
import { describeErrno, ERRNO } from '../../kernel/syscall.ts';

/** A write that failed with -errno. */
export function writeFailed(path: string, result: number): StasisError {
  const remedy = result === -ERRNO.ENOSPC ? 'make room on the file system of the images' : undefined;
  return new StasisError({ kind: 'io', resource: path, reason: `write: ${describeErrno(result)}`, remedy });
}
