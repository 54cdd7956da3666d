/**
 * What /proc tells of many descriptors, one after the other: by way of directories that are opened once, and no more
 * often than it has to be asked.
 */
import type { HostPid, LocalFd, TaskFd } from '../../base/brands.ts';
import { AT, O, S_IF } from '../constants/files.ts';
import { tryOpen, tryReadLink } from '../files.ts';
import type { FileStatus } from '../statx.ts';
import { arena, arenaAddress, arenaPath, ERRNO, Fd, SyscallError, trySyscall } from '../syscall.ts';
import { readProcIfAny, TOO_DEEP } from './read.ts';

/** Where fdinfo is read to in the arena, behind the path, and how much of it at most. */
const INFO_AT = 8192;
const LONGEST_INFO = 32 * 1024;

/** The files `fdinfo/FD` of a process. */
export class DescriptorInfos implements Disposable {
  readonly #pid: HostPid;
  #directory: Fd | undefined;

  constructor(pid: HostPid) {
    this.#pid = pid;
  }

  /** A copy of one; undefined if the descriptor is closed. @throws StasisError as readProc() */
  of(fd: TaskFd): Uint8Array | undefined {
    this.#directory ??= directoryAt(`/proc/${this.#pid}/fdinfo`);
    const info = this.#directory && readWhole(this.#directory, fd);
    return info ?? readProcIfAny(this.#pid, `fdinfo/${fd}`)?.slice();
  }

  [Symbol.dispose](): void {
    this.#directory?.[Symbol.dispose]();
  }
}

/** Undefined unless it goes as usual. The kernel gives such a file by one read, if there is room (`single_open()`). */
function readWhole(directory: Fd, name: number): Uint8Array | undefined {
  const fd = trySyscall('openat', directory.number, arenaPath(`${name}`), O.RDONLY | O.CLOEXEC);
  if (fd < 0) return undefined;
  const length = trySyscall('read', fd, arenaAddress + INFO_AT, LONGEST_INFO);
  trySyscall('close', fd);
  return length > 0 && length < LONGEST_INFO ? arena.slice(INFO_AT, INFO_AT + length) : undefined;
}

function directoryAt(path: string): Fd | undefined {
  const fd = tryOpen(path, O.RDONLY | O.DIRECTORY);
  return fd < 0 ? undefined : new Fd(fd);
}

/**
 * How the links of files begin that have no path, by device: sockets and pipes each have a file system of the kernel's
 * own (sockfs, pipefs), and the link of such a file tells nothing but its inode.
 */
const NAMELESS = new Map<number, string>();

/** The links of our own descriptors in /proc. */
export class OwnLinks implements Disposable {
  #directory: Fd | undefined;

  /**
   * The link of an open file; {@link TOO_DEEP} if the path is too long for it (do_proc_readlink() in fs/proc/base.c
   * uses one page).
   * @throws SyscallError
   */
  of(local: LocalFd, { dev, ino, mode }: Pick<FileStatus, 'dev' | 'ino' | 'mode'>): string {
    const type = mode & S_IF.MT;
    const isNameless = type === S_IF.SOCK || type === S_IF.IFO;
    const start = isNameless ? NAMELESS.get(dev) : undefined;
    if (start !== undefined) return `${start}${ino}]`;
    this.#directory ??= directoryAt('/proc/self/fd');
    const link = linkIn(this.#directory, local);
    for (const known of isNameless ? ['socket:[', 'pipe:['] : [])
      if (link === `${known}${ino}]`) NAMELESS.set(dev, known);
    return link;
  }

  [Symbol.dispose](): void {
    this.#directory?.[Symbol.dispose]();
  }
}

/** As {@link OwnLinks.of}, of one descriptor. @throws SyscallError */
export function ownLink(local: LocalFd): string {
  return linkIn(undefined, local);
}

function linkIn(directory: Fd | undefined, local: LocalFd): string {
  const link = directory ? tryReadLink(`${local}`, directory.number) : tryReadLink(`/proc/self/fd/${local}`, AT.FDCWD);
  if (typeof link === 'string') return link;
  if (link === -ERRNO.ENAMETOOLONG) return TOO_DEEP;
  throw new SyscallError('readlinkat', -link);
}
