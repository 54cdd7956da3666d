/**
 * Reading files of /proc into one reused buffer.
 *
 * A seq_file returns at most a page for each read, whatever the size of the buffer, so large files take many calls. The
 * size of such a file is always 0, so reading goes on until a read returns nothing.
 */

import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { AT, O } from '../constants/files.ts';
import { PinnedBuffer } from '../ffi.ts';
import { tryOpen, tryReadLink } from '../files.ts';
import { arenaPath, describeErrno, ERRNO, trySyscall } from '../syscall.ts';

/**
 * A Uint8Array, not a Buffer: slice() of a Buffer does not copy, so callers that keep a slice would see the next file.
 */
let buffer = new PinnedBuffer(new Uint8Array(64 * 1024));

/** Least free room for a read, in bytes; the buffer is enlarged if there is less. */
const CHUNK = 16 * 1024;

const LARGEST_READ = 1024 * 1024;

/**
 * Reads `/proc/PID/NAME`, as `readProc(17, 'task/18/stat')`. The bytes are valid until the next call, so callers parse
 * or copy them. Throws `gone` when there is no such task, `unsupported` when it has no such file (an older kernel,
 * another configuration, a zombie asked for its memory), `permission`, else `kernel`.
 */
export function readProc(pid: HostPid | 'self', name: string): Uint8Array {
  return read(`/proc/${pid}/${name}`, pid);
}

/** As {@link readProc}, but `undefined` when the task exists and has no such file. */
export function readProcIfAny(pid: HostPid | 'self', name: string): Uint8Array | undefined {
  try {
    return readProc(pid, name);
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'unsupported') return undefined;
    throw error;
  }
}

/**
 * Reads a file of /proc or /sys that belongs to no task, as `/proc/locks`. Bytes and errors as for {@link readProc}.
 */
export function readSystem(path: string): Uint8Array {
  return read(path, undefined);
}

/** Stands for a path of PATH_MAX bytes or more, which the kernel does not show. */
export const TOO_DEEP = 'path of 4096 bytes or more';

/**
 * The target of a link `/proc/PID/NAME` (`exe`, `cwd`, `fd/3`, `ns/net`, `map_files/A-B`), unescaped and complete. It
 * may end in ` (deleted)`. Throws as {@link readProc}, but also for a closed descriptor or an unmapped range
 * `unsupported`.
 */
export function readProcLink(pid: HostPid | 'self', name: string): string {
  const path = `/proc/${pid}/${name}`;
  const target = tryReadLink(path);
  if (typeof target === 'number') throw failure(path, pid, -target);
  return target;
}

function read(path: string, pid: number | 'self' | undefined): Uint8Array {
  const fd = tryOpen(path, O.RDONLY);
  if (fd < 0) throw failure(path, pid, -fd);
  const length = readAll(fd);
  trySyscall('close', fd);
  if (length < 0) throw failure(path, pid, -length);
  return buffer.view.subarray(0, length);
}

/** Reads a file to its end into the buffer. Returns the number of bytes, or -errno. */
function readAll(fd: number): number {
  let length = 0;
  for (;;) {
    if (buffer.view.length - length < CHUNK) buffer = grown(length);
    // sysctl files refuse to be read with a buffer of more than KMALLOC_MAX_SIZE (ENOMEM).
    const got = trySyscall('read', fd, buffer.address + length, Math.min(buffer.view.length - length, LARGEST_READ));
    if (got <= 0) return got < 0 ? got : length;
    length += got;
  }
}

function grown(length: number): PinnedBuffer {
  using smaller = buffer;
  const next = new Uint8Array(smaller.view.length * 2);
  next.set(smaller.view.subarray(0, length));
  return new PinnedBuffer(next);
}

function failure(path: string, pid: number | 'self' | undefined, errno: number): StasisError {
  const facts = { resource: path, ...(typeof pid === 'number' ? { task: { pid } } : {}) };
  if (errno === ERRNO.ENOENT || errno === ERRNO.ESRCH) {
    // `auxv` and `smaps` give ESRCH also for zombies and kernel threads, which exist but have no memory.
    const gone = typeof pid === 'number' && trySyscall('faccessat', AT.FDCWD, arenaPath(`/proc/${pid}`), 0) < 0;
    return gone
      ? new StasisError({ ...facts, kind: 'gone', reason: 'no such task' })
      : new StasisError({ ...facts, kind: 'unsupported', code: 'PROC_FILE_MISSING', reason: 'there is no such file' });
  }
  if (errno === ERRNO.EACCES || errno === ERRNO.EPERM) {
    return new StasisError({
      ...facts,
      kind: 'permission',
      reason: 'may not be read',
      remedy: 'run as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE',
    });
  }
  return new StasisError({ ...facts, kind: 'kernel', reason: describeErrno(errno) });
}
