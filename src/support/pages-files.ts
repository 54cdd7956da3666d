/** Opens and reads pages files during a restore. */
import type { LocalFd } from '../base/brands.ts';
import { Part } from '../base/part.ts';
import { ImageError } from '../images/error.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { tryReadLink } from '../kernel/files.ts';
import { arenaPath, describeErrno, ERRNO, Fd, trySyscall } from '../kernel/syscall.ts';
import type { CompressedFile } from './compressed-pages.ts';

const COMPRESSED = new Part(() => require('./compressed-pages.ts') as typeof import('./compressed-pages.ts'));

/** Whether page contents are compressed, so that only Stasis can read them. */
export function isCompressed(path: string): boolean {
  return path.endsWith('.zst');
}

/** The pages files that are open. They are opened when first needed and closed at the end of the scope. */
export class PagesFiles implements Disposable {
  readonly #open = new Map<string, Fd>();
  readonly #compressed = new Map<string, CompressedFile>();

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
    if (isCompressed(path)) {
      this.#compressedFile(path).read(offset, length, address);
      return;
    }
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

  #compressedFile(path: string): CompressedFile {
    const known = this.#compressed.get(path);
    if (known) return known;
    const file = new (COMPRESSED.load().CompressedFile)(path);
    this.#compressed.set(path, file);
    return file;
  }

  [Symbol.dispose](): void {
    for (const file of this.#compressed.values()) file[Symbol.dispose]();
    for (const file of this.#open.values()) file[Symbol.dispose]();
  }
}

/** The name of a pages file, or of the archive it is in, without its folder, for errors. */
export function nameOf(path: string): string {
  const target = path.startsWith('/proc/self/fd/') ? tryReadLink(path) : path;
  const named = typeof target === 'string' ? target : path;
  return named.slice(named.lastIndexOf('/') + 1);
}
