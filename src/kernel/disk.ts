/** Implements the interface an image set needs (images/disk.ts) by system calls. It throws SyscallErrors. */
import { localFd } from '../base/brands.ts';
import { cstring, decodeText } from '../base/text.ts';
import { AT, O, S_IF } from './constants/files.ts';
import { namesIn, openFile, tryRead, tryWrite } from './files.ts';
import { type FileStatus, followedStatus, statusOf } from './statx.ts';
import { arenaPath, SyscallError, syscall } from './syscall.ts';

interface DiskStatus {
  readonly regular: boolean;
  readonly size: number;
  readonly dev: number;
  readonly ino: number;
}

function told({ mode, size, dev, ino }: FileStatus): DiskStatus {
  return { regular: (mode & S_IF.MT) === S_IF.REG, size, dev, ino };
}

export const disk = {
  open: (path: string, flags: number, mode: number): number => openFile(path, flags, mode).release(),
  close: (fd: number): void => void syscall('close', fd),
  read(fd: number, into: Uint8Array): number {
    const got = tryRead(fd, into);
    if (got < 0) throw new SyscallError('read', -got);
    return got;
  },
  write(fd: number, bytes: Uint8Array): void {
    const result = tryWrite(fd, bytes);
    if (result < 0) throw new SyscallError('write', -result);
  },
  statusOf: (fd: number): DiskStatus => told(statusOf(localFd(fd))),
  status(path: string): DiskStatus | undefined {
    const found = followedStatus(path);
    return found && told(found);
  },
  unlink: (path: string): void => void syscall('unlinkat', AT.FDCWD, arenaPath(path), 0),
  link: (target: string, path: string): void => void syscall('symlinkat', cstring(target), AT.FDCWD, arenaPath(path)),
  namesIn,
  /** The text of a file of any kind; undefined if there is none. */
  readText(path: string): string | undefined {
    const status = followedStatus(path);
    if (!status) return undefined;
    using fd = openFile(path, O.RDONLY);
    // one byte more than the file has, so that a read that does not fill it has reached the end
    let bytes = new Uint8Array(status.size + 1);
    let length = disk.read(fd.number, bytes);
    while (length === bytes.length) {
      const more = new Uint8Array(2 * length + 4096);
      more.set(bytes);
      bytes = more;
      length += disk.read(fd.number, bytes.subarray(length));
    }
    return decodeText(bytes.subarray(0, length));
  },
  /** Uses node:fs, since this is rarely needed: only for a dump into a directory that does not exist. */
  makeDirectory: (dir: string): void => void process.getBuiltinModule('node:fs').mkdirSync(dir, { recursive: true }),
};
