/** Reads an image set from an archive: a file as it is, a stream when all of it has come. */
import { StasisError } from '../../base/errors.ts';
import type { Disk } from '../../images/disk.ts';
import { ImageError } from '../../images/error.ts';
import { PARENT } from '../../images/image-set-writer.ts';
import { AT, F, O, POLL, S_IF, SPLICE_F } from '../../kernel/constants/files.ts';
import { disk } from '../../kernel/disk.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { memoryFile, tryUnnamed } from '../../kernel/files.ts';
import { waitFor } from '../../kernel/poll.ts';
import { statusOf } from '../../kernel/statx.ts';
import { arenaPath, describeErrno, ERRNO, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { type ArchiveIndex, type Member, readIndex } from './members.ts';
import { FRAME, HEADER_SIZE, isSealed, Opener, TAG } from './seal.ts';
import type { ArchivePlace } from './target.ts';

/** A path at which there is never anything. */
const NOWHERE = '/proc/self/fd/none';
/** Bytes that are brought at once. */
const PIECE = 1 << 20;

/** An archive that is open for reading. */
export class ArchiveReader implements Disposable {
  /** The disk of the image set, which reads as if the archive's files were in `dir`. */
  readonly disk: Disk;
  readonly #file: Fd;
  readonly #dir: string;
  readonly #index: ArchiveIndex;
  /** Files that were copied out of the archive, for whoever needs a path. */
  readonly #copies = new Map<string, Fd>();

  /**
   * @param dir what the link to the images of an earlier dump counts from
   * @param spool a directory for a stream to be put in; without it, memory
   * @param key what the archive is encrypted with; then it has to be
   * @throws StasisError (io, image)
   */
  constructor(place: ArchivePlace, dir: string, spool: string | undefined, key: Uint8Array | undefined) {
    const name = 'path' in place ? place.path : 'the archive';
    this.#dir = dir;
    this.#file = openFile(place, name, spool, key);
    const { size } = statusOf(this.#file.number);
    const buffer = new Uint8Array(1 << 16);
    const read = (offset: number, length: number): Uint8Array => {
      const into = length <= buffer.length ? buffer.subarray(0, length) : new Uint8Array(length);
      return into.subarray(0, this.#read(into, offset));
    };
    try {
      if (isSealed(read(0, 64))) throw sealed(name);
      this.#index = readIndex(read, size, name.slice(name.lastIndexOf('/') + 1));
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
    this.disk = this.#makeDisk();
  }

  #read(into: Uint8Array, offset: number): number {
    for (let done = 0; done < into.length; ) {
      const part = done === 0 ? into : into.subarray(done);
      const got = trySyscall('pread64', this.#file.number, part, part.length, offset + done);
      if (got === 0) return done;
      if (got > 0) done += got;
      else if (got !== -ERRNO.EINTR) throw new SyscallError('pread64', -got);
    }
    return into.length;
  }

  #makeDisk(): Disk {
    const { members } = this.#index;
    const memberAt = (path: string): Member | undefined => members.get(this.#nameOf(path) ?? '/');
    const real = (path: string): string => this.#realPath(path) ?? NOWHERE;
    return {
      ...disk,
      open: (path, flags, mode) => {
        const member = memberAt(path);
        return member ? this.#copyOf(path, member).release() : disk.open(real(path), flags, mode);
      },
      status: (path) => {
        const member = memberAt(path);
        if (member) return { regular: true, size: member.size, dev: 0, ino: 0 };
        return path === this.#dir ? disk.statusOf(this.#file.number) : disk.status(real(path));
      },
      namesIn: (dir) => (dir === this.#dir ? [...members.keys()] : disk.namesIn(real(dir))),
      place: (path) => {
        const member = memberAt(path);
        if (member) return { path: `/proc/self/fd/${this.#file.number}`, offset: member.offset };
        return { path: real(path), offset: 0 };
      },
      openable: (path) => {
        const member = memberAt(path);
        if (!member) return real(path);
        const copy = this.#copies.get(path) ?? this.#copyOf(path, member);
        this.#copies.set(path, copy);
        return `/proc/self/fd/${copy.number}`;
      },
    };
  }

  /** The name that a file of the set itself has, if a path is that of one. */
  #nameOf(path: string): string | undefined {
    if (!path.startsWith(`${this.#dir}/`)) return undefined;
    const name = path.slice(this.#dir.length + 1);
    return name.includes('/') || name === PARENT ? undefined : name;
  }

  /** The path of a file that is not in the archive; undefined if it could only be there. */
  #realPath(path: string): string | undefined {
    if (this.#nameOf(path) !== undefined) return undefined;
    const link = `${this.#dir}/${PARENT}`;
    if (path !== link && !path.startsWith(`${link}/`)) return path;
    const { parent } = this.#index;
    if (parent === undefined) return undefined;
    return (parent.startsWith('/') ? parent : `${this.#dir}/${parent}`) + path.slice(link.length);
  }

  /** A member as a file of its own, in memory. */
  #copyOf(path: string, { offset, size }: Member): Fd {
    const copy = memoryFile(path.slice(path.lastIndexOf('/') + 1));
    const bytes = new Uint8Array(Math.min(PIECE, size));
    for (let done = 0; done < size; ) {
      const got = this.#read(bytes.subarray(0, Math.min(bytes.length, size - done)), offset + done);
      if (got === 0) throw new ImageError({ file: path, reason: 'the archive has become shorter' });
      disk.write(copy.number, bytes.subarray(0, got));
      done += got;
    }
    syscall('lseek', copy.number, 0, 0);
    return copy;
  }

  [Symbol.dispose](): void {
    for (const copy of this.#copies.values()) copy[Symbol.dispose]();
    this.#file[Symbol.dispose]();
  }
}

/** Opens an archive as a file that can be read at any place. */
function openFile(place: ArchivePlace, name: string, spool: string | undefined, key: Uint8Array | undefined): Fd {
  const opened = 'path' in place ? openPath(place.path) : trySyscall('fcntl', place.descriptor, F.DUPFD_CLOEXEC, 3);
  if (opened < 0) {
    throw new StasisError({ kind: 'io', resource: name, reason: `cannot be opened: ${describeErrno(opened)}` });
  }
  const from = new Fd(opened);
  const type = statusOf(from.number).mode & S_IF.MT;
  const isAtStart = type === S_IF.REG && trySyscall('lseek', from.number, 0, 1) === 0;
  if (isAtStart && !key) return from;
  using _ = from;
  if (type === S_IF.DIR) {
    const remedy = `name a folder of images with -D ${name}`;
    throw new StasisError({ kind: 'usage', resource: name, reason: 'is a directory, not an archive', remedy });
  }
  return spooled(from, name, spool, key);
}

/** Opens a file; for a FIFO it waits until somebody writes to that. Answers -errno if there is none. */
function openPath(path: string): number {
  for (;;) {
    const opened = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NOCTTY);
    if (opened !== -ERRNO.EINTR) return opened;
    requireUninterrupted();
  }
}

/**
 * Whether it is to be tried again to read from a stream: after a signal that does not end us, and when something has
 * come, if whoever gave the stream to us has made it non-blocking.
 */
function isToTryAgain(from: Fd, result: number): boolean {
  if (result === -ERRNO.EAGAIN) waitFor(from.number, POLL.IN, -1);
  return result === -ERRNO.EAGAIN || result === -ERRNO.EINTR;
}

/** All that comes from a stream. Its end is awaited: whoever has dumped closes it when the dump is over. */
function spooled(from: Fd, name: string, directory: string | undefined, key: Uint8Array | undefined): Fd {
  const to = directory === undefined ? memoryFile('stasis-archive') : unnamedIn(directory);
  try {
    trySyscall('fcntl', from.number, F.SETPIPE_SZ, PIECE);
    if (key) {
      unseal(from, to, key, name.slice(name.lastIndexOf('/') + 1));
      return to;
    }
    using buffer = new PinnedBuffer(new Uint8Array(PIECE));
    let splices = true;
    for (;;) {
      requireUninterrupted();
      const got = splices
        ? trySyscall('splice', from.number, 0, to.number, 0, PIECE, SPLICE_F.MOVE)
        : trySyscall('read', from.number, buffer.address, PIECE);
      if (got === 0) return to;
      if (got === -ERRNO.EINVAL && splices) splices = false;
      else if (isToTryAgain(from, got)) continue;
      else if (got < 0) throw unreadable(splices ? 'splice' : 'read', -got, name, directory);
      else if (!splices) disk.write(to.number, buffer.view.subarray(0, got));
    }
  } catch (error) {
    to[Symbol.dispose]();
    throw error;
  }
}

/** Decrypts an archive from a file or stream into a file. @throws ImageError if anything is not what was written */
function unseal(from: Fd, to: Fd, key: Uint8Array, name: string): void {
  const read = (length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      requireUninterrupted();
      const got = trySyscall('read', from.number, bytes.subarray(filled), length - filled);
      if (got === 0) break;
      if (got > 0) filled += got;
      else if (!isToTryAgain(from, got)) throw new SyscallError('read', -got, { resource: name });
    }
    return bytes.subarray(0, filled);
  };
  const opener = new Opener(key, read(HEADER_SIZE), name);
  for (let frame = read(FRAME + TAG), isLast = false; !isLast; ) {
    const next = read(FRAME + TAG);
    isLast = next.length === 0;
    disk.write(to.number, opener.open(frame, isLast));
    frame = next;
  }
}

function sealed(name: string): ImageError {
  const remedy = 'name the file of its key with --encrypt';
  return new ImageError({ file: name.slice(name.lastIndexOf('/') + 1), reason: 'is encrypted', remedy });
}

function unreadable(call: 'splice' | 'read', errno: number, name: string, directory: string | undefined): StasisError {
  const isFull = errno === ERRNO.ENOSPC || errno === ERRNO.EDQUOT;
  const remedy = isFull ? 'name a directory with room for all of the archive with --spool' : undefined;
  const resource = isFull && directory !== undefined ? directory : name;
  return new SyscallError(call, errno, { resource, ...(remedy === undefined ? {} : { remedy }) });
}

/** A file without a name. @throws StasisError */
function unnamedIn(directory: string): Fd {
  const fd = tryUnnamed(directory, O.RDWR);
  if (fd >= 0) return new Fd(fd);
  const reason = `no file without a name can be made there: ${describeErrno(fd)}`;
  throw new StasisError({ kind: 'io', resource: directory, reason, remedy: 'name another directory with --spool' });
}
