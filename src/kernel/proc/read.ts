/**
 * Reading files of /proc into one reused buffer.
 *
 * seq_file answers at most a page a read, whatever is asked for, so large files take many calls, and the file's size is
 * always 0: reading goes on until a read answers nothing.
 */

import { closeSync, existsSync, openSync, readlinkSync, readSync } from 'node:fs';
import { StasisError } from '../../base/errors.ts';
import { decodeText } from '../../base/text.ts';

/** No Buffer: its slice() copies nothing, and callers that keep what they read would keep the next file. */
let buffer = new Uint8Array(64 * 1024);

/** Most a read is offered; below it the buffer is grown first. */
const CHUNK = 16 * 1024;

/**
 * Reads `/proc/PID/NAME`, as `readProc(17, 'task/18/stat')`. The bytes are valid until the next call: parse or copy them.
 * Throws `gone` when there is no such task, `unsupported` when it has no such file (an older kernel, another configuration,
 * a zombie asked for its memory), `permission`, else `kernel`.
 */
export function readProc(pid: number | 'self', name: string): Uint8Array {
  return read(`/proc/${pid}/${name}`, pid);
}

/** As {@link readProc}, but `undefined` when the task exists and has no such file. */
export function readProcIfAny(pid: number | 'self', name: string): Uint8Array | undefined {
  try {
    return readProc(pid, name);
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'unsupported') return undefined;
    throw error;
  }
}

/** Reads a file of /proc or /sys that belongs to no task, as `/proc/locks`. Bytes and errors as for {@link readProc}. */
export function readSystem(path: string): Uint8Array {
  return read(path, undefined);
}

/**
 * The target of a link `/proc/PID/NAME` (`exe`, `cwd`, `fd/3`, `ns/net`, `map_files/A-B`), unescaped and whole. ` (deleted)` may end it. Throws as
 * {@link readProc}, but also for a closed descriptor or an unmapped range `unsupported`.
 */
export function readProcLink(pid: number | 'self', name: string): string {
  const path = `/proc/${pid}/${name}`;
  try {
    return decodeText(readlinkSync(path, 'buffer'));
  } catch (error) {
    throw failure(path, pid, error);
  }
}

function read(path: string, pid: number | 'self' | undefined): Uint8Array {
  let fd = -1;
  try {
    fd = openSync(path, 'r');
    return readAll(fd);
  } catch (error) {
    throw failure(path, pid, error);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function readAll(fd: number): Uint8Array {
  let length = 0;
  for (;;) {
    if (buffer.length - length < CHUNK) buffer = grown(length);
    const got = readSync(fd, buffer, length, buffer.length - length, null);
    if (got === 0) return buffer.subarray(0, length);
    length += got;
  }
}

function grown(length: number): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(buffer.length * 2);
  next.set(buffer.subarray(0, length));
  return next;
}

function failure(path: string, pid: number | 'self' | undefined, error: unknown): StasisError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  const facts = { resource: path, cause: error, ...(typeof pid === 'number' ? { task: { pid } } : {}) };
  if (code === 'ENOENT' || code === 'ESRCH') {
    // ESRCH is also what `auxv` or `smaps` of a zombie or kernel thread say: the task is there, its memory is not.
    const gone = typeof pid === 'number' && !existsSync(`/proc/${pid}`);
    return gone
      ? new StasisError({ ...facts, kind: 'gone', reason: 'no such task' })
      : new StasisError({ ...facts, kind: 'unsupported', reason: 'there is no such file' });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new StasisError({
      ...facts,
      kind: 'permission',
      reason: 'may not be read',
      remedy: 'run as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE',
    });
  }
  return new StasisError({ ...facts, kind: 'kernel', reason: error instanceof Error ? error.message : String(error) });
}
