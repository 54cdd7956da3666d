/**
 * Files by path, through system calls: loading node:fs would take longer than all file operations of a small dump.
 * Functions named `try…` return the kernel's result: a value, or -errno.
 */
import { decodeText } from '../base/text.ts';
import { AT, F, MFD, O } from './constants/files.ts';
import { arena, arenaAddress, arenaPath, ERRNO, Fd, SyscallError, syscall, trySyscall } from './syscall.ts';

/** Opens a file (`O.CLOEXEC` is added). Returns a descriptor or -errno. */
export function tryOpen(path: string, flags: number, mode = 0): number {
  return trySyscall('openat', AT.FDCWD, arenaPath(path), flags | O.CLOEXEC, mode);
}

/** As {@link tryOpen}. @throws SyscallError */
export function openFile(path: string, flags: number, mode = 0): Fd {
  const fd = tryOpen(path, flags, mode);
  if (fd < 0) throw new SyscallError('openat', -fd, { resource: path });
  return new Fd(fd);
}

/**
 * Makes a file without a name on the file system of a directory, for us alone; it is gone when it is closed. Returns a
 * descriptor or -errno: not every file system has them (EOPNOTSUPP, EISDIR).
 */
export function tryUnnamed(directory: string, access: number): number {
  return tryOpen(directory, O.TMPFILE_BIT | O.DIRECTORY | access, 0o600);
}

/** Makes a file in memory (memfd_create(2)); `name` is what /proc shows. @throws SyscallError */
export function memoryFile(name: string): Fd {
  return new Fd(syscall('memfd_create', arenaPath(name), MFD.CLOEXEC));
}

/**
 * Duplicates a descriptor, which programs that we start do not get; the new number is at least `least`.
 * @throws SyscallError
 */
export function duplicate(descriptor: number, least = 0): Fd {
  return new Fd(syscall('fcntl', descriptor, F.DUPFD_CLOEXEC, least));
}

/** Reads until `length` bytes have come or the file ends. Returns the number of bytes read, or -errno. */
export function tryRead(fd: number, into: Uint8Array, length = into.byteLength): number {
  let done = 0;
  while (done < length) {
    const got = trySyscall('read', fd, done === 0 ? into : into.subarray(done), length - done);
    if (got === -ERRNO.EINTR) continue;
    if (got < 0) return got;
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** Writes all bytes, repeating short writes. Returns 0 or -errno. */
export function tryWrite(fd: number, bytes: Uint8Array): number {
  for (let done = 0; done < bytes.byteLength; ) {
    const got = trySyscall('write', fd, done === 0 ? bytes : bytes.subarray(done), bytes.byteLength - done);
    if (got < 0 && got !== -ERRNO.EINTR) return got;
    if (got > 0) done += got;
  }
  return 0;
}

/** As {@link tryWrite}. @throws SyscallError */
export function writeAll(fd: number, bytes: Uint8Array): void {
  const result = tryWrite(fd, bytes);
  if (result < 0) throw new SyscallError('write', -result);
}

/** Writes a text to an existing file, as files of /proc and /sys are set. Returns 0 or -errno. */
export function trySet(path: string, text: string): number {
  const fd = tryOpen(path, O.WRONLY);
  if (fd < 0) return fd;
  const result = tryWrite(fd, new Uint8Array(Buffer.from(text)));
  trySyscall('close', fd);
  return result;
}

const ENTRIES = 32 * 1024;
let entries: Uint8Array<ArrayBuffer> | undefined;

/** A name in a directory. */
export interface DirectoryEntry {
  readonly name: string;
  /** DT_* (include/linux/fs_types.h). */
  readonly type: number;
}

/** `DirectoryEntry.type` of a directory. */
export const DT_DIR = 4;

/**
 * The names in a directory, without `.` and `..`, in the kernel's order (struct linux_dirent64). @throws SyscallError
 */
export function namesIn(path: string): string[] {
  return entriesIn(path).map(({ name }) => name);
}

/** As {@link namesIn}, with their types. @throws SyscallError */
export function entriesIn(path: string): DirectoryEntry[] {
  entries ??= new Uint8Array(ENTRIES);
  using directory = openFile(path, O.RDONLY | O.DIRECTORY);
  const found: DirectoryEntry[] = [];
  for (;;) {
    const filled = syscall('getdents64', directory.number, entries, ENTRIES);
    if (filled === 0) return found;
    for (let at = 0; at < filled; ) {
      const length = (entries[at + 16] as number) | ((entries[at + 17] as number) << 8);
      const from = at + 19;
      const name = decodeText(entries.subarray(from, entries.indexOf(0, from)));
      if (name !== '.' && name !== '..') found.push({ name, type: entries[at + 18] as number });
      at += length;
    }
  }
}

const LINK_AT = 4096;
const LONGEST_LINK = 8192;

/** The target of a symbolic link, or, with an empty path, of the one behind the descriptor `at`; or -errno. */
export function tryReadLink(path: string, at: number = AT.FDCWD): string | number {
  const length = trySyscall('readlinkat', at, arenaPath(path), arenaAddress + LINK_AT, LONGEST_LINK);
  return length < 0 ? length : decodeText(arena.subarray(LINK_AT, LINK_AT + length));
}
