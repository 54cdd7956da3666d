/** Opens and reads pages files during a restore. */
import type { LocalFd } from '../base/brands.ts';
import { ImageError } from '../images/error.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { arenaPath, describeErrno, ERRNO, Fd, trySyscall } from '../kernel/syscall.ts';

/** The pages files that are open. They are opened when first needed and closed at the end of the scope. */
export class PagesFiles implements Disposable {
  readonly #open = new Map<string, Fd>();

  /** Our descriptor of a pages file. @throws ImageError */
  descriptor(path: string): LocalFd {
    const known = this.#open.get(path);
    if (known) return known.number;
    // O_NONBLOCK, since the open of a FIFO of that name would block.
    const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NONBLOCK);
    if (opened < 0) throw new ImageError({ file: nameOf(path), reason: describeErrno(opened) });
    const file = new Fd(opened);
    this.#open.set(path, file);
    return file.number;
  }

  /** Reads exactly `length` bytes of a file to an address in our memory. @throws ImageError */
  read(path: string, offset: number, length: number, address: number): void {
    const fd = this.descriptor(path);
    for (let done = 0; done < length; ) {
      const got = trySyscall('pread64', fd, address + done, length - done, offset + done);
      if (got > 0) done += got;
      else if (got !== -ERRNO.EINTR) {
        const reason = got === 0 ? 'it ends too early' : describeErrno(got);
        throw new ImageError({ file: nameOf(path), reason });
      }
    }
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file[Symbol.dispose]();
  }
}

/** The name of a pages file without its folder, for errors. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
