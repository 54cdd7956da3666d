/**
 * Packets in pipes. A write to a pipe with O_DIRECT is a packet: a read takes one packet at most, and discards what of
 * it does not fit. A packet is a buffer that is marked (PIPE_BUF_FLAG_PACKET in fs/pipe.c). tee(2) and splice(2) keep
 * the mark (link_pipe(), splice_pipe_to_pipe() in fs/splice.c), so a copy of the buffers tells where packets end.
 */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { DumpContext, RestoreContext } from '../contract/contract.ts';
import { flag, list, tuple, whole } from '../images/form.ts';
import { F, O, SPLICE_F } from '../kernel/constants/files.ts';
import { TTY_IOCTL } from '../kernel/constants/tty.ts';
import { writeAll } from '../kernel/files.ts';
import { arenaAddress, arenaView, Fd, syscall } from '../kernel/syscall.ts';
import { notedFile, noteFile } from './file-notes.ts';

/** A part of the content of a pipe: a packet, or plain bytes between packets. Its length is in bytes. */
export interface Piece {
  readonly length: number;
  readonly packet: boolean;
}

/** Makes a pipe for Stasis itself: reading end, writing end, both close-on-exec. @throws SyscallError */
export function makePipe(): readonly [number, number] {
  syscall('pipe2', arenaAddress, O.CLOEXEC);
  return [arenaView.getInt32(0, true), arenaView.getInt32(4, true)];
}

/** The number of unread bytes (FIONREAD). @throws SyscallError */
export function waitingBytes(local: number): number {
  syscall('ioctl', local, TTY_IOCTL.FIONREAD, arenaAddress);
  return arenaView.getInt32(0, true);
}

/** A pipe of ours. */
class OwnPipe implements Disposable {
  readonly read: Fd;
  readonly write: Fd;

  constructor(size?: number) {
    const [read, write] = makePipe();
    this.read = new Fd(read);
    this.write = new Fd(write);
    if (size !== undefined) syscall('fcntl', write, F.SETPIPE_SZ, size);
  }

  /** Appends a byte to what is in the pipe; it is no part of the buffer before it, which tee(2) made. */
  mark(): void {
    writeAll(this.write.number, new Uint8Array(1));
  }

  [Symbol.dispose](): void {
    this.read[Symbol.dispose]();
    this.write[Symbol.dispose]();
  }
}

/** What waits in a pipe. */
export interface PipeContent {
  readonly bytes: Uint8Array;
  /** Its pieces; undefined if no packet is among them. */
  readonly pieces: readonly Piece[] | undefined;
}

/**
 * A copy of what waits in a pipe with a buffer of `size` bytes; the pipe is left unchanged. `local` is a reading end.
 * @throws SyscallError
 */
export function peekPipe(local: number, size: number): PipeContent {
  if (waitingBytes(local) === 0) return { bytes: new Uint8Array(), pieces: undefined };
  using copy = new OwnPipe(size);
  const bytes = new Uint8Array(tee(local, copy, size));
  if (size > PAGE_SIZE && readPlain(copy, bytes)) return { bytes, pieces: undefined };
  using again = new OwnPipe(size);
  tee(local, again, size);
  const pieces = readPieces(again, bytes);
  return { bytes, pieces: pieces.some(({ packet }) => packet) ? pieces : undefined };
}

function tee(local: number, copy: OwnPipe, size: number): number {
  return syscall('tee', local, copy.write.number, size, SPLICE_F.NONBLOCK);
}

/**
 * Reads all of a copy into `bytes`, and returns whether there is no packet in it, since a packet ends a read. To find
 * out about the last buffer, all but the last byte is read, and a byte is appended: a reader gets both if the last
 * buffer is no packet.
 */
function readPlain(copy: OwnPipe, bytes: Uint8Array): boolean {
  const most = bytes.length - 1;
  if (most > 0) {
    if (syscall('read', copy.read.number, bytes, most) < most) return false;
    if (waitingBytes(copy.read.number) === 0) return false;
  }
  copy.mark();
  const both = new Uint8Array(2);
  if (syscall('read', copy.read.number, both, 2) < 2) return false;
  bytes.set(both.subarray(0, 1), most);
  return true;
}

/** Reads a copy buffer by buffer: a pipe with room for one buffer takes one at a time. */
function readPieces(copy: OwnPipe, bytes: Uint8Array): Piece[] {
  using single = new OwnPipe(PAGE_SIZE);
  using pair = new OwnPipe();
  const pieces: Piece[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = syscall('splice', copy.read.number, 0, single.write.number, 0, bytes.length, SPLICE_F.NONBLOCK);
    syscall('splice', single.read.number, 0, pair.write.number, 0, length, SPLICE_F.NONBLOCK);
    pair.mark();
    const piece = new Uint8Array(length + 1);
    const packet = syscall('read', pair.read.number, piece, length + 1) === length;
    if (packet) syscall('read', pair.read.number, new Uint8Array(1), 1);
    bytes.set(piece.subarray(0, length), at);
    at += length;
    const last = pieces.at(-1);
    if (last && !packet && !last.packet) pieces[pieces.length - 1] = { length: last.length + length, packet };
    else pieces.push({ length, packet });
  }
  return pieces;
}

/**
 * Writes pieces into a restored pipe, whose writing end is `write`. Plain bytes before a packet are put in by tee(2):
 * the kernel would append the packet to a page that write(2) has left half empty (PIPE_BUF_FLAG_CAN_MERGE).
 * @throws SyscallError
 */
export function writePieces(write: number, bytes: Uint8Array, pieces: readonly Piece[]): void {
  const flags = syscall('fcntl', write, F.GETFL);
  let at = 0;
  pieces.forEach(({ length, packet }, i) => {
    const piece = bytes.slice(at, at + length);
    at += length;
    if (packet) {
      syscall('fcntl', write, F.SETFL, flags | O.DIRECT);
      writeAll(write, piece);
      syscall('fcntl', write, F.SETFL, flags);
    } else if (pieces[i + 1]?.packet) {
      using helper = new OwnPipe(syscall('fcntl', write, F.GETPIPE_SZ));
      writeAll(helper.write.number, piece);
      syscall('tee', helper.read.number, write, length, SPLICE_F.NONBLOCK);
    } else writeAll(write, piece);
  });
}

const pieceList = list(tuple(whole, flag));

/** Records the pieces of a pipe's content, by its ID in the image. @throws StasisError (io) */
export function notePieces(context: DumpContext, image: string, pipeId: number, pieces: readonly Piece[]): void {
  const value = pieces.map(({ length, packet }) => [length, packet]);
  noteFile(context, `${image}-packets`, pipeId, value);
}

/**
 * The pieces recorded for a pipe; undefined if there are none, or if they are not those of `length` bytes, as when the
 * image was edited. @throws ImageError
 */
export function notedPieces(
  context: RestoreContext,
  image: string,
  pipeId: number,
  length: number,
): readonly Piece[] | undefined {
  const noted = notedFile(context, `${image}-packets`, pipeId, pieceList);
  const pieces = noted?.map(([length, packet]): Piece => ({ length, packet }));
  const fits = (one: Piece): boolean => one.length > 0 && (!one.packet || one.length <= PAGE_SIZE);
  if (!pieces?.every(fits)) return undefined;
  return pieces.reduce((sum, one) => sum + one.length, 0) === length ? pieces : undefined;
}
