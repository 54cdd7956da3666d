/** Pages files while a restore reads them. Shared by the kinds of mappings and of segments. */
import { ImageError } from '../images/error.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { arenaPath, describeErrno, ERRNO, Fd, trySyscall } from '../kernel/syscall.ts';

/** Opened when they are needed, closed at the end of the scope. */
export class PagesFiles implements Disposable {
  readonly #open = new Map<string, Fd>();

  /** Our descriptor of a pages file. @throws ImageError */
  descriptor(path: string): number {
    const known = this.#open.get(path);
    if (known) return known.number;
    // Not blocking, so that a FIFO of that name cannot hold us up.
    const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NONBLOCK);
    if (opened < 0) throw new ImageError({ file: nameOf(path), reason: describeErrno(opened) });
    const file = new Fd(opened);
    this.#open.set(path, file);
    return file.number;
  }

  /** Reads a stretch of a file to an address of ours, all of it. @throws ImageError */
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

/** The name of a pages file without its folder, as errors tell it. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
