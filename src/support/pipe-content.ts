/** What pipes and FIFOs share: bytes that wait in a buffer, and the buffer's size. */
import { StasisError } from '../base/errors.ts';
import type { DumpContext, OpenFile, RestoreContext } from '../contract/contract.ts';
import type { ImageKind } from '../images/kind.ts';
import type { PipeDataEntry, pipeDataEntry } from '../images/schema/files.ts';
import { F, O, SPLICE_F } from '../kernel/constants/files.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { addressOf } from '../kernel/ffi.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../kernel/syscall.ts';

/** `Images.pipesData` or `Images.fifoData`. */
type ContentImage = ImageKind<typeof pipeDataEntry, Uint8Array>;

/** How many bytes wait to be read (FIONREAD). */
export function waitingBytes(local: number): number {
  syscall('ioctl', local, TTY_IOCTL.FIONREAD, arenaAddress);
  return arenaView.getInt32(0, true);
}

/** Stores what is in a pipe, once for each pipe, through a reading end; a writing end tells nothing. */
export function captureContent(image: ContentImage, pipeId: number, file: OpenFile, context: DumpContext): void {
  if ((file.flags & O.ACCMODE) === O.WRONLY) return;
  const done = context.shared(`content of ${image.name}`, () => new Set<number>());
  if (done.has(pipeId)) return;
  done.add(pipeId);
  const size = syscall('fcntl', file.local, F.GETPIPE_SZ);
  const bytes = peek(file.local, size);
  context.append(image, { pipe_id: pipeId, bytes: bytes.length, size }, bytes);
}

/** A copy of a pipe's bytes: tee(2) duplicates them into a pipe of ours, the original is not touched. */
function peek(local: number, size: number): Uint8Array {
  if (waitingBytes(local) === 0) return new Uint8Array();
  const [read, write] = makePipe();
  using from = new Fd(read);
  using into = new Fd(write);
  syscall('fcntl', into.number, F.SETPIPE_SZ, size);
  const bytes = new Uint8Array(syscall('tee', local, into.number, size, SPLICE_F.NONBLOCK));
  for (let got = 0; got < bytes.length; ) {
    got += syscall('read', from.number, addressOf(bytes) + got, bytes.length - got);
  }
  return bytes;
}

/** A pipe of ours: reading end, writing end, both closed on exec. */
export function makePipe(): readonly [number, number] {
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  return [arenaView.getInt32(0, true), arenaView.getInt32(4, true)];
}

/** Sets size and bytes of a pipe made anew, if any were stored, once for each pipe; `write` is an end to write to. */
export function restoreContent(image: ContentImage, pipeId: number, write: number, context: RestoreContext): void {
  const stored = context.shared(`content of ${image.name}`, () => {
    const entries = context.images.readEntries(image).map((entry) => [entry.message.pipe_id, entry] as const);
    return new Map(entries);
  });
  const found = stored.get(pipeId);
  if (!found) return;
  stored.delete(pipeId);
  fill(write, found.message, found.extra ?? new Uint8Array());
}

function fill(write: number, { pipe_id: pipeId, size }: PipeDataEntry, bytes: Uint8Array): void {
  if (size !== undefined) syscall('fcntl', write, F.SETPIPE_SZ, size);
  const room = syscall('fcntl', write, F.GETPIPE_SZ);
  if (bytes.length > room) {
    // Writing would block for ever.
    const reason = `${bytes.length} bytes do not fit a buffer of ${room}`;
    throw new StasisError({ kind: 'image', resource: `pipe:[${pipeId}]`, reason });
  }
  for (let done = 0; done < bytes.length; ) {
    done += syscall('write', write, addressOf(bytes) + done, bytes.length - done);
  }
}
