/** The contents of pipes and FIFOs: unread bytes, and the size of the buffer. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import { KeyedSlot } from '../contract/slots.ts';
import type { ImageKind } from '../images/kind.ts';
import type { PipeDataEntry, pipeDataEntry } from '../images/schema/files.ts';
import { AT, F, O } from '../kernel/constants/files.ts';
import { openFile, writeAll } from '../kernel/files.ts';
import { statusOf } from '../kernel/statx.ts';
import { arenaPath, Fd, syscall } from '../kernel/syscall.ts';
import { describeFile } from './fdinfo.ts';
import { canRead, type Ends, endsInTree, hasPartner } from './pipe-ends.ts';
import {
  notedPieces,
  notePieces,
  type Piece,
  type PipeContent,
  peekPipe,
  waitingBytes,
  writePieces,
} from './pipe-packets.ts';

/** `Images.pipesData` or `Images.fifoData`. */
type ContentImage = ImageKind<typeof pipeDataEntry, Uint8Array>;

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
  const { bytes, pieces } = contentOf(file, ends, size, context);
  context.append(image, { pipe_id: pipeId, bytes: bytes.length, size }, bytes);
  if (pieces) notePieces(context, image.pattern, pipeId, pieces);
}

const NOTHING: PipeContent = { bytes: new Uint8Array(), pieces: undefined };

function contentOf(file: OpenFile, ends: Ends, size: number, context: DumpContext): PipeContent {
  if (canRead(file.flags)) return peekPipe(file.local, size);
  const bytes = waitingBytes(file.local);
  if (bytes === 0 || hasPartner(file)) return NOTHING;
  if (ends.signalled) {
    const reason = `${bytes} bytes that nobody is to read are lost: to look at them would send a signal (O_ASYNC)`;
    context.notice({ task: file.task, resource: describeFile(file), reason });
    return NOTHING;
  }
  const path = arenaPath(`/proc/self/fd/${file.local}`);
  using reader = new Fd(syscall('openat', AT.FDCWD, path, O.RDONLY | O.NONBLOCK | O.CLOEXEC));
  return peekPipe(reader.number, size);
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
  const bytes = found.payload ?? new Uint8Array();
  const pieces = bytes.length > 0 ? notedPieces(context, image.pattern, pipeId, bytes.length) : undefined;
  fill(write, found.message, bytes, pieces);
}

function fill(
  end: number,
  { pipe_id: pipeId, size }: PipeDataEntry,
  bytes: Uint8Array,
  pieces: readonly Piece[] | undefined,
): void {
  if (size !== undefined) syscall('fcntl', end, F.SETPIPE_SZ, size);
  const room = syscall('fcntl', end, F.GETPIPE_SZ);
  if (bytes.length > room) {
    // The write would block forever.
    const reason = `${bytes.length} bytes do not fit a buffer of ${room}`;
    throw new StasisError({ kind: 'image', resource: `pipe:[${pipeId}]`, reason });
  }
  write(end, bytes, pieces);
}

/**
 * Puts the stored bytes of a pipe into the one that the user has given for it, once for each pipe: they were on their
 * way to the tree. The given pipe may be the very same, which still holds them. Bytes that cannot be put in front of
 * what waits already are reported.
 */
export function bringContent(image: ContentImage, pipeId: number, given: LocalFd, context: RestoreContext): void {
  const stored = CONTENTS.of(context, image);
  const bytes = stored.get(pipeId)?.payload ?? new Uint8Array();
  stored.delete(pipeId);
  if (bytes.length === 0 || statusOf(given).ino === pipeId) return;
  if (waitingBytes(given) > 0 || bytes.length > syscall('fcntl', given, F.GETPIPE_SZ)) {
    const reason = `the pipe that is given has no room for the ${bytes.length} bytes that waited; they are lost`;
    context.notice({ resource: `pipe:[${pipeId}]`, reason, remedy: 'give one that is empty and as large' });
    return;
  }
  const path = `/proc/self/fd/${given}`;
  context.undo(() => {
    using reader = openFile(path, O.RDONLY | O.NONBLOCK);
    const left = waitingBytes(reader.number);
    if (left > 0) syscall('read', reader.number, new Uint8Array(left), left);
  });
  using both = openFile(path, O.RDWR);
  write(both.number, bytes, notedPieces(context, image.pattern, pipeId, bytes.length));
}

function write(end: number, bytes: Uint8Array, pieces: readonly Piece[] | undefined): void {
  if (pieces) writePieces(end, bytes, pieces);
  else writeAll(end, bytes);
}
