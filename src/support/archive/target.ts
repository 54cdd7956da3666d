/** Where an archive of images is written to: a file that appears when it is complete, or a stream. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { AT, F, O, POLL, S_IF } from '../../kernel/constants/files.ts';
import { MSG, SIOCINQ } from '../../kernel/constants/sockets.ts';
import { tryOpen, tryUnnamed } from '../../kernel/files.ts';
import { nap } from '../../kernel/nap.ts';
import { eventsOf, waitFor } from '../../kernel/poll.ts';
import { followedStatus, statusOf } from '../../kernel/statx.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  describeErrno,
  ERRNO,
  Fd,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { FRAME, Sealer } from './seal.ts';

/** Where an archive goes: the path of a file, or a descriptor of ours. */
export type ArchivePlace = { readonly path: string } | { readonly descriptor: number };

/** Takes the bytes of an archive. */
export interface ArchiveTarget extends Disposable {
  /** For people. */
  readonly name: string;
  /** The file, where bytes can be put at any place in any order. */
  readonly file: Fd | undefined;
  /** Puts bytes at an offset: the next one, for whatever is no file. @throws StasisError (io) */
  put(offset: number, bytes: Uint8Array): void;
  /** Returns when all that was put is stored. @throws StasisError (io) */
  sync(): void;
  /** Says that the archive is complete, and returns when everybody can see that. @throws StasisError (io) */
  complete(): void;
  /** Forgets what was put. @throws StasisError if it is gone already */
  restart(): void;
}

/** Opens the place of an archive, which is encrypted if there is a key. @throws StasisError (io, usage) */
export function openTarget(place: ArchivePlace, key: Uint8Array | undefined): ArchiveTarget {
  const target = openPlain(place);
  return key ? new Sealed(target, key) : target;
}

function openPlain(place: ArchivePlace): ArchiveTarget {
  if ('descriptor' in place) return new Stream(duplicate(place.descriptor), `descriptor ${place.descriptor}`);
  const status = followedStatus(place.path);
  if (status && (status.mode & S_IF.MT) === S_IF.DIR) throw failed(place.path, -ERRNO.EISDIR);
  if (!status || (status.mode & S_IF.MT) === S_IF.REG) return new NewFile(place.path);
  for (;;) {
    // For a FIFO it waits until somebody reads that.
    const fd = trySyscall('openat', AT.FDCWD, arenaPath(place.path), O.WRONLY | O.CLOEXEC | O.NOCTTY);
    if (fd >= 0) return new Stream(new Fd(fd), place.path);
    requireUninterrupted();
    if (fd !== -ERRNO.EINTR) throw failed(place.path, fd);
  }
}

function duplicate(descriptor: number): Fd {
  const fd = trySyscall('fcntl', descriptor, F.DUPFD_CLOEXEC, 3);
  if (fd < 0) throw failed(`descriptor ${descriptor}`, fd);
  return new Fd(fd);
}

function failed(name: string, result: number): StasisError {
  const isFull = result === -ERRNO.ENOSPC || result === -ERRNO.EDQUOT;
  const remedy = isFull ? 'make room on its file system' : undefined;
  const isGone = result === -ERRNO.EPIPE || result === -ERRNO.ECONNRESET;
  const reason = isGone ? 'whoever read it has gone' : `cannot be written: ${describeErrno(result)}`;
  return new StasisError({ kind: 'io', resource: name, reason, remedy });
}

/** A file without a name until it is complete; where the file system has none such, one with another name. */
class NewFile implements ArchiveTarget {
  readonly name: string;
  readonly file: Fd;
  readonly #directory: string;
  /** A name that the file has for the time being. */
  readonly #temporary: string;
  #isNamed = false;

  constructor(path: string) {
    this.name = path;
    const slash = path.lastIndexOf('/');
    this.#directory = slash < 0 ? '.' : path.slice(0, slash + 1);
    this.#temporary = `${slash < 0 ? '' : this.#directory}.${path.slice(slash + 1)}.${process.pid}`;
    let fd = tryUnnamed(this.#directory, O.RDWR);
    if (fd === -ERRNO.EOPNOTSUPP || fd === -ERRNO.EISDIR) {
      this.#removeStale();
      fd = tryOpen(this.#temporary, O.RDWR | O.CREAT | O.EXCL, 0o600);
      this.#isNamed = fd >= 0;
    }
    if (fd < 0) throw failed(path, fd);
    this.file = new Fd(fd);
  }

  put(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = done === 0 ? bytes : bytes.subarray(done);
      const got = trySyscall('pwrite64', this.file.number, part, part.length, offset + done);
      if (got > 0) done += got;
      else if (got !== -ERRNO.EINTR) throw failed(this.name, got);
      requireUninterrupted();
    }
  }

  sync(): void {
    const result = trySyscall('fsync', this.file.number);
    if (result < 0) throw failed(this.name, result);
  }

  complete(): void {
    this.sync();
    if (!this.#isNamed) this.#link();
    if (this.#isNamed) {
      const renamed = trySyscall(
        'renameat',
        AT.FDCWD,
        arenaPath(this.#temporary),
        AT.FDCWD,
        arenaPath(this.name, 8192),
      );
      if (renamed < 0) throw failed(this.name, renamed);
      this.#isNamed = false;
    }
    // The name has to last as well.
    const opened = trySyscall('openat', AT.FDCWD, arenaPath(this.#directory), O.RDONLY | O.DIRECTORY | O.CLOEXEC);
    if (opened < 0) return;
    using directory = new Fd(opened);
    trySyscall('fsync', directory.number);
  }

  /** Gives the file its name, or another one if there is a file of that name: only renaming replaces that. */
  #link(): void {
    const linkTo = (path: string): number => {
      const from = arenaPath(`/proc/self/fd/${this.file.number}`);
      return trySyscall('linkat', AT.FDCWD, from, AT.FDCWD, arenaPath(path, 8192), AT.SYMLINK_FOLLOW);
    };
    const linked = linkTo(this.name);
    if (linked === 0) return;
    if (linked === -ERRNO.EEXIST) this.#removeStale();
    const other = linked === -ERRNO.EEXIST ? linkTo(this.#temporary) : linked;
    if (other < 0) throw failed(this.name, other);
    this.#isNamed = true;
  }

  /** A dump that was killed and had our process ID may have left a file of that name. */
  #removeStale(): void {
    trySyscall('unlinkat', AT.FDCWD, arenaPath(this.#temporary), 0);
  }

  restart(): void {
    syscall('ftruncate', this.file.number, 0);
  }

  [Symbol.dispose](): void {
    if (this.#isNamed) trySyscall('unlinkat', AT.FDCWD, arenaPath(this.#temporary), 0);
    this.file[Symbol.dispose]();
  }
}

/** Seconds in which whoever reads a stream has to take something, since a tree stands still meanwhile. */
const PATIENCE = 60;
/** Most bytes that a pipe holds without privileges. */
const PIPE_SIZE = 1 << 20;
/** Nanoseconds between two looks at whether a pipe is empty. */
const PAUSE = 200_000;

/** A pipe, a socket, or a device. */
class Stream implements ArchiveTarget {
  readonly name: string;
  readonly file = undefined;
  readonly #fd: Fd;
  readonly #type: number;
  #sent = 0;

  constructor(given: Fd, name: string) {
    this.name = name;
    this.#type = statusOf(given.number).mode & S_IF.MT;
    this.#fd = this.#type === S_IF.IFO ? nonblocking(given) : given;
    if (this.#type === S_IF.IFO) trySyscall('fcntl', this.#fd.number, F.SETPIPE_SZ, PIPE_SIZE);
  }

  put(offset: number, bytes: Uint8Array): void {
    if (offset !== this.#sent) throw new StasisError({ kind: 'internal', reason: 'a stream is written in order' });
    for (let done = 0; done < bytes.length; ) {
      const got = this.#write(this.#fd.number, done === 0 ? bytes : bytes.subarray(done));
      requireUninterrupted();
      if (got > 0) done += got;
      else if (got === -ERRNO.EAGAIN) this.#wait();
      else if (got !== -ERRNO.EINTR) throw failed(this.name, got);
    }
    this.#sent += bytes.length;
  }

  #write(fd: LocalFd, bytes: Uint8Array): number {
    if (this.#type !== S_IF.SOCK) return trySyscall('write', fd, bytes, bytes.length);
    return trySyscall('sendto', fd, bytes, bytes.length, MSG.NOSIGNAL | MSG.DONTWAIT, 0, 0);
  }

  #wait(): void {
    const came = waitFor(this.#fd.number, POLL.OUT, PATIENCE * 1000);
    requireUninterrupted();
    if (!came) throw this.#stalled();
  }

  #stalled(): StasisError {
    const reason = `whoever reads it takes nothing any more (${PATIENCE} s)`;
    return new StasisError({ kind: 'io', resource: this.name, reason });
  }

  /** A file that is our stdout is a stream, too, and may be on a disk that is full or gone. */
  sync(): void {
    if (this.#type !== S_IF.REG && this.#type !== S_IF.BLK) return;
    const result = trySyscall('fsync', this.#fd.number);
    if (result < 0) throw failed(this.name, result);
  }

  /** What is left in a pipe when its reader goes is lost, so that has to be taken. Sockets do not tell. */
  complete(): void {
    this.sync();
    if (this.#type !== S_IF.IFO) return;
    let left = -1;
    for (let since = performance.now(); ; nap(PAUSE)) {
      const events = eventsOf(this.#fd.number, POLL.OUT);
      syscall('ioctl', this.#fd.number, SIOCINQ, arenaAddress);
      const before = left;
      left = arenaView.getInt32(0, true);
      if (left === 0) return;
      if (events & POLL.ERR) throw failed(this.name, -ERRNO.EPIPE);
      if (left !== before) since = performance.now();
      else if (performance.now() - since > PATIENCE * 1000) throw this.#stalled();
    }
  }

  restart(): void {
    if (this.#sent === 0) return;
    throw new StasisError({
      kind: 'conflict',
      code: 'TASK_HAS_STASIS_CODE',
      resource: this.name,
      reason: 'a task was still in the code of a Stasis that was killed, and a part of the stream was written already',
      remedy: 'try again',
    });
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

/** The same pipe as an open file of its own: others who have it must not find theirs non-blocking. */
function nonblocking(given: Fd): Fd {
  const path = arenaPath(`/proc/self/fd/${given.number}`);
  const opened = trySyscall('openat', AT.FDCWD, path, O.WRONLY | O.NONBLOCK | O.CLOEXEC);
  if (opened < 0) return given;
  given[Symbol.dispose]();
  return new Fd(opened);
}

/** A target whose content is encrypted. */
class Sealed implements ArchiveTarget {
  readonly name: string;
  readonly file = undefined;
  readonly #inner: ArchiveTarget;
  readonly #key: Uint8Array;
  #sealer: Sealer;
  /** What does not fill a frame yet. */
  readonly #rest = new Uint8Array(FRAME);
  #filled = 0;
  #sent = 0;

  constructor(inner: ArchiveTarget, key: Uint8Array) {
    this.name = inner.name;
    this.#inner = inner;
    this.#key = key;
    this.#sealer = new Sealer(key);
  }

  put(_offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      // A full frame is kept until something follows: it may be the last one.
      if (this.#filled === FRAME) this.#flush(false);
      const part = bytes.subarray(done, done + FRAME - this.#filled);
      this.#rest.set(part, this.#filled);
      this.#filled += part.length;
      done += part.length;
    }
  }

  #flush(isLast: boolean): void {
    if (this.#sent === 0) this.#send(this.#sealer.header);
    this.#send(this.#sealer.seal(this.#rest.subarray(0, this.#filled), isLast));
    this.#filled = 0;
  }

  #send(bytes: Uint8Array): void {
    this.#inner.put(this.#sent, bytes);
    this.#sent += bytes.length;
  }

  sync(): void {
    this.#inner.sync();
  }

  complete(): void {
    this.#flush(true);
    this.#inner.complete();
  }

  restart(): void {
    this.#inner.restart();
    this.#sealer = new Sealer(this.#key);
    this.#filled = 0;
    this.#sent = 0;
  }

  [Symbol.dispose](): void {
    this.#rest.fill(0);
    this.#inner[Symbol.dispose]();
  }
}
