/**
 * Ghosts are files that are open or mapped but have no name any more. This half saves one, with its content, to
 * `ghost-file-N.img`.
 */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { DumpContext, OpenFile } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { encodeMessage } from '../../images/codec.ts';
import { writeHeaded } from '../../images/image.ts';
import { imageName } from '../../images/kind.ts';
import { Images } from '../../images/kinds.ts';
import type { InputOf } from '../../images/message.ts';
import { ghostChunkEntry, type ghostFileEntry } from '../../images/schema/files.ts';
import { AT, O, S_IF } from '../../kernel/constants/files.ts';
import { dataRanges } from '../../kernel/data-ranges.ts';
import { userDev } from '../../kernel/devnum.ts';
import { writeAll } from '../../kernel/files.ts';
import { type FileTime, statusOf, timesOf } from '../../kernel/statx.ts';
import {
  arenaAddress,
  arenaPath,
  arenaView,
  ERRNO,
  Fd,
  SyscallError,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { fileObstacle } from '../../support/fdinfo.ts';

/** In bytes. From this size on CRIU stores only the data between holes. */
const CHUNKED_FROM = 3 * 4096;

/** Why a ghost cannot be saved; undefined if it can. `limit` is in bytes of disk space. */
export function ghostObstacle(file: OpenFile, limit: number): StasisError | undefined {
  const { blocks } = statusOf(file.local);
  if (blocks * 512 <= limit) return undefined;
  const reason = `it was deleted, and its content of ${blocks * 512} bytes is more than a dump saves (${limit})`;
  return fileObstacle(file, 'FILE_GHOST_LIMIT', reason, `--ghost-limit ${blocks * 512}`);
}

/** The IDs of the ghosts saved so far, by device and inode number. */
const SAVED = new Slot((_: DumpContext) => new Map<string, number>());

/**
 * Saves a file without a name, once for all open file descriptions of it. Returns the ID of its image.
 * @throws StasisError when it is larger than `--ghost-limit`
 */
export function captureGhost(file: OpenFile, context: DumpContext): number {
  const known = SAVED.of(context);
  const key = `${file.stat.dev}:${file.stat.ino}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const problem = ghostObstacle(file, context.options.ghostLimit);
  if (problem) throw problem;
  const id = known.size + 1;
  known.set(key, id);
  saveGhost(file, id, context);
  return id;
}

function saveGhost(file: OpenFile, id: number, context: DumpContext): void {
  const status = statusOf(file.local);
  const type = status.mode & S_IF.MT;
  const name = imageName(Images.ghostFile, id);
  if (type !== S_IF.REG) {
    const message = {
      ...headOf(file.local, context),
      symlnk_target: type === S_IF.LNK ? targetOf(file.local) : undefined,
    };
    context.images.writeHeaded(Images.ghostFile, id, { message }, []);
    return;
  }
  // Opened again, since lseek(2) on the task's open file description would change its position, and it may not be
  // readable.
  using source = reopen(file.local, O.RDONLY);
  const chunked = status.size >= CHUNKED_FROM;
  const message = { ...headOf(file.local, context), ...(chunked ? { chunks: true, size: status.size } : {}) };
  using image = new Fd(context.images.create(name));
  writeAll(image.number, writeHeaded(Images.ghostFile, { message }, [], name));
  if (!chunked) {
    copyRange(source.number, 0, status.size, image.number);
    return;
  }
  for (const { start, end } of dataRanges(source.number, status.size)) {
    const chunk = encodeMessage(ghostChunkEntry, { len: end - start, off: start });
    writeAll(image.number, new Uint8Array(new Uint32Array([chunk.length]).buffer));
    writeAll(image.number, chunk);
    copyRange(source.number, start, end - start, image.number);
  }
}

function headOf(local: LocalFd, { tree: { ids } }: DumpContext): InputOf<typeof ghostFileEntry> {
  const status = statusOf(local);
  const times = timesOf(local);
  const type = status.mode & S_IF.MT;
  const device = type === S_IF.CHR || type === S_IF.BLK;
  return {
    uid: ids.uidThere(status.uid),
    gid: ids.gidThere(status.gid),
    mode: status.mode,
    dev: status.dev,
    ino: status.ino,
    rdev: device ? userDev(status.rdev) : undefined,
    atim: timeval(times.atime),
    mtim: timeval(times.mtime),
  };
}

function timeval(time: FileTime): { tv_sec: bigint; tv_usec: number } {
  return { tv_sec: BigInt.asUintN(64, time.sec), tv_usec: Math.floor(time.nsec / 1000) };
}

/** Opens the file behind a descriptor again, through /proc/self/fd, with O_NOATIME if that is permitted. */
export function reopen(local: LocalFd, flags: number): Fd {
  const path = arenaPath(`/proc/self/fd/${local}`);
  // O_NONBLOCK, so that the open fails instead of waiting for a frozen task to give up a lease.
  const how = flags | O.CLOEXEC | O.NONBLOCK;
  const quiet = trySyscall('openat', AT.FDCWD, path, how | O.NOATIME);
  return new Fd(quiet >= 0 ? quiet : syscall('openat', AT.FDCWD, path, how));
}

function targetOf(local: LocalFd): string {
  const length = syscall('readlinkat', local, arenaPath(''), arenaAddress + 8, 4096);
  return Buffer.from(arenaBytes(8, length)).toString('latin1');
}

function arenaBytes(offset: number, length: number): Uint8Array {
  return new Uint8Array(arenaView.buffer, offset, length).slice();
}

/** Appends a piece of a file to `to`. The copy is done inside the kernel. */
function copyRange(from: number, offset: number, length: number, to: number): void {
  for (let done = 0; done < length; ) {
    arenaView.setBigInt64(0, BigInt(offset + done), true);
    const sent = trySyscall('sendfile', to, from, arenaAddress, length - done);
    if (sent < 0 && sent !== -ERRNO.EINTR) throw new SyscallError('sendfile', -sent, { resource: 'a deleted file' });
    if (sent === 0) throw new StasisError({ kind: 'io', reason: 'a deleted file became shorter while it was saved' });
    if (sent > 0) done += sent;
  }
}
