/** Opens a path with the flags that a file was open with at the dump. */
import { type LocalFd, localFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { O } from '../kernel/constants/files.ts';
import { describeErrno, ERRNO } from '../kernel/syscall.ts';
import { type PlaceIfAny, tryOpenAt } from '../namespaces/places.ts';

/** Flags that must not take effect a second time, and flags that are set by other means. */
const NOT_AGAIN = O.CREAT | O.EXCL | O.TRUNC | O.ASYNC | O.TMPFILE_BIT;

/**
 * Opens a path with the flags a file had. O_NONBLOCK is always added: if there is a FIFO now, or a leased file, the
 * open would wait forever.
 * @throws StasisError kind 'conflict', named after `name`
 */
export function openPath(path: string, flags: number, name: string, place?: PlaceIfAny): LocalFd {
  // O_TMPFILE includes O_DIRECTORY; such a file comes back as a ghost, which is no directory.
  const unnamed = (flags & O.TMPFILE_BIT) !== 0 ? O.DIRECTORY : 0;
  const how = (flags & ~(NOT_AGAIN | unnamed)) | O.CLOEXEC | O.NOCTTY;
  const fd = tryOpenAt(place, path, (how & O.PATH) !== 0 ? how : how | O.NONBLOCK);
  if (fd < 0) throw openError(name, -fd);
  return localFd(fd);
}

function openError(name: string, errno: number): StasisError {
  const fact = (code: 'FILE_MISSING' | 'FILE_BUSY' | 'FILE_CHANGED', reason: string, remedy?: string): StasisError =>
    new StasisError({ kind: 'conflict', code, resource: name, reason, remedy });
  switch (errno) {
    case ERRNO.ENOENT:
    case ERRNO.ENOTDIR:
      return fact('FILE_MISSING', 'there is no such file any more', 'put it back as it was when it was dumped');
    case ERRNO.ETXTBSY:
      return fact(
        'FILE_BUSY',
        'it was open for writing, and is being executed now',
        'end the program that runs from it',
      );
    case ERRNO.EAGAIN:
      return fact('FILE_BUSY', 'another process holds a lease on it');
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return new StasisError({
        kind: 'permission',
        resource: name,
        reason: `it cannot be opened: ${describeErrno(errno)}`,
      });
    default:
      return fact('FILE_CHANGED', `it cannot be opened: ${describeErrno(errno)}`);
  }
}
