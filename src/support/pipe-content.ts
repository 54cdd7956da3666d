/** The contents of pipes and FIFOs: unread bytes, and the size of the buffer. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import { KeyedSlot } from '../contract/slots.ts';
import type { ImageKind } from '../images/kind.ts';
import type { PipeDataEntry, pipeDataEntry } from '../images/schema/files.ts';
import { AT, F, O, SPLICE_F } from '../kernel/constants/files.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { writeAll } from '../kernel/files.ts';
import { arenaAddress, arenaPath, arenaView, Fd, syscall } from '../kernel/syscall.ts';
import { describeFile } from './fdinfo.ts';
import { canRead, type Ends, endsInTree, hasPartner } from './pipe-ends.ts';

/** `Images.pipesData` or `Images.fifoData`. */
type ContentImage = ImageKind<typeof pipeDataEntry, Uint8Array>;

/** The number of unread bytes (FIONREAD). @throws SyscallError */
export function waitingBytes(local: LocalFd): number {
  syscall('ioctl', local, TTY_IOCTL.FIONREAD, arenaAddress);
  return arenaView.getInt32(0, true);
}

/** IDs of the pipes whose content has been stored, for each image. */
const SAVED = new KeyedSlot((_: DumpContext, _image: ContentImage) => new Set<number>());

/**
 * Stores the buffer size and the unread bytes of a pipe, once for each pipe. If only a process outside of the tree
 * reads, the bytes are left to it. If there is no reader at all, the bytes can still be read by opening the pipe again.
 * This is not done if a writer asked for signals (O_ASYNC), since it would get one when our reading end is closed
 * (pipe_release() in fs/pipe.c).
 */
export function captureContent(image: ContentImage, pipeId: number, file: OpenFile, context: DumpContext): void {
  const done = SAVED.of(context, image);
  if (done.has(pipeId)) return;
  const ends = endsInTree(file, context.tree);
  // The reading end, which can read the content, comes later.
  if (ends.reading && !canRead(file.flags)) return;
  done.add(pipeId);
  const size = syscall('fcntl', file.local, F.GETPIPE_SZ);
  const bytes = contentOf(file, ends, size, context);
  context.append(image, { pipe_id: pipeId, bytes: bytes.length, size }, bytes);
}

function contentOf(file: OpenFile, ends: Ends, size: number, context: DumpContext): Uint8Array {
  if (canRead(file.flags)) return peek(file.local, size);
  const bytes = waitingBytes(file.local);
  if (bytes === 0 || hasPartner(file)) return new Uint8Array();
  if (ends.signalled) {
    const reason = `${bytes} bytes that nobody is to read are lost: to look at them would send a signal (O_ASYNC)`;
    context.notice({ task: file.task, resource: describeFile(file), reason });
    return new Uint8Array();
  }
  const path = arenaPath(`/proc/self/fd/${file.local}`);
  using reader = new Fd(syscall('openat', AT.FDCWD, path, O.RDONLY | O.NONBLOCK | O.CLOEXEC));
  return peek(reader.number, size);
}

/** A copy of the unread bytes: tee(2) duplicates them into a pipe of ours and leaves the original unchanged. */
function peek(local: LocalFd, size: number): Uint8Array {
  if (waitingBytes(local) === 0) return new Uint8Array();
  const [read, write] = makePipe();
  using from = new Fd(read);
  using into = new Fd(write);
  syscall('fcntl', into.number, F.SETPIPE_SZ, size);
  const bytes = new Uint8Array(syscall('tee', local, into.number, size, SPLICE_F.NONBLOCK));
  for (let got = 0; got < bytes.length; ) {
    got += syscall('read', from.number, bytes.subarray(got), bytes.length - got);
  }
  return bytes;
}

/** Makes a pipe for Stasis itself: reading end, writing end, both close-on-exec. @throws SyscallError */
export function makePipe(): readonly [number, number] {
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  return [arenaView.getInt32(0, true), arenaView.getInt32(4, true)];
}

/** The contents of an image that have not been restored yet, by the IDs of their pipes. */
const CONTENTS = new KeyedSlot((context: RestoreContext, image: ContentImage) => {
  const entries = context.images.readEntries(image).map((entry) => [entry.message.pipe_id, entry] as const);
  return new Map(entries);
});

/**
 * Sets the buffer size of a restored pipe and writes its bytes, if any were stored, once for each pipe. `write` is its
 * writing end. @throws StasisError (image)
 */
export function restoreContent(image: ContentImage, pipeId: number, write: number, context: RestoreContext): void {
  const stored = CONTENTS.of(context, image);
  const found = stored.get(pipeId);
  if (!found) return;
  stored.delete(pipeId);
  fill(write, found.message, found.extra ?? new Uint8Array());
}

function fill(write: number, { pipe_id: pipeId, size }: PipeDataEntry, bytes: Uint8Array): void {
  if (size !== undefined) syscall('fcntl', write, F.SETPIPE_SZ, size);
  const room = syscall('fcntl', write, F.GETPIPE_SZ);
  if (bytes.length > room) {
    // The write would block forever.
    const reason = `${bytes.length} bytes do not fit a buffer of ${room}`;
    throw new StasisError({ kind: 'image', resource: `pipe:[${pipeId}]`, reason });
  }
  writeAll(write, bytes);
}
