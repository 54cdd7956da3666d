/** Reads `ghost-file-N.img` piece by piece, since its content may be too large to hold in memory. */
import { StasisError } from '../../base/errors.ts';
import { decodeMessage } from '../../images/codec.ts';
import { ImageError } from '../../images/error.ts';
import { Images } from '../../images/kinds.ts';
import { COMMON_MAGIC } from '../../images/magic.ts';
import { type GhostFileEntry, ghostChunkEntry, ghostFileEntry } from '../../images/schema/files.ts';
import { AT, O, SEEK } from '../../kernel/constants/files.ts';
import { statusOf } from '../../kernel/statx.ts';
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

/** In bytes; more than the messages of this image, which hold a path and a few numbers, can have. */
const LONGEST_MESSAGE = 16 * 1024;

export class GhostImage implements Disposable {
  /** The message before the content. */
  readonly head: GhostFileEntry;
  readonly #file: Fd;
  readonly #name: string;
  readonly #size: number;
  /** Offset of the content in the file. */
  readonly #content: number;

  /** `name` names the image in errors. @throws ImageError */
  constructor(path: string, name: string) {
    this.#name = name;
    const fd = trySyscall('openat', AT.FDCWD, arenaPath(path), O.RDONLY | O.CLOEXEC | O.NONBLOCK);
    if (fd === -ERRNO.ENOENT) throw this.error('the content of a deleted file is missing');
    if (fd < 0) throw new StasisError({ kind: 'io', resource: path, reason: `cannot be opened (errno ${-fd})` });
    this.#file = new Fd(fd);
    this.#size = statusOf(this.#file.number).size;
    const magics = this.#bytes(0, 8);
    const view = new DataView(magics.buffer);
    if (view.getUint32(0, true) !== COMMON_MAGIC || view.getUint32(4, true) !== Images.ghostFile.magic) {
      throw this.error('not the image of a deleted file');
    }
    const { bytes, end } = this.#message(8);
    this.head = decodeMessage(ghostFileEntry, bytes, { file: name });
    this.#content = end;
  }

  /** Writes the content to an empty file. @throws ImageError, SyscallError */
  pour(to: number): void {
    if (!this.head.chunks) {
      this.#copy(this.#content, this.#size - this.#content, to, 0);
      return;
    }
    if (this.head.size === undefined) throw this.error('pieces of a file whose size is not told');
    syscall('ftruncate', to, this.head.size);
    for (let at = this.#content; at < this.#size; ) {
      const { bytes, end } = this.#message(at);
      const chunk = decodeMessage(ghostChunkEntry, bytes, { file: this.#name });
      if (chunk.off + chunk.len > this.head.size) throw this.error('a piece lies beyond the end of the file');
      this.#copy(end, Number(chunk.len), to, Number(chunk.off));
      at = end + Number(chunk.len);
    }
  }

  /** An error about this image. */
  error(reason: string): ImageError {
    return new ImageError({ file: this.#name, reason });
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  /** Reads a message and the length before it. */
  #message(at: number): { bytes: Uint8Array; end: number } {
    const length = new DataView(this.#bytes(at, 4).buffer).getUint32(0, true);
    if (length > LONGEST_MESSAGE) throw this.error(`entry of ${length} bytes at byte ${at}`);
    return { bytes: this.#bytes(at + 4, length), end: at + 4 + length };
  }

  #bytes(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (syscall('pread64', this.#file.number, bytes, length, at) < length) throw this.#torn();
    return bytes;
  }

  #copy(from: number, length: number, to: number, at: number): void {
    if (from + length > this.#size) throw this.#torn();
    syscall('lseek', to, at, SEEK.SET);
    for (let done = 0; done < length; ) {
      arenaView.setBigInt64(0, BigInt(from + done), true);
      const sent = trySyscall('sendfile', to, this.#file.number, arenaAddress, length - done);
      if (sent < 0) throw new SyscallError('sendfile', -sent, { resource: 'a deleted file' });
      if (sent === 0) throw this.#torn();
      done += sent;
    }
  }

  #torn(): ImageError {
    return this.error('it ends too early');
  }
}
