/** Page contents that are compressed (`--compress`): frames that can be read one by one. */
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import type { FilePlace } from '../images/disk.ts';
import { ImageError } from '../images/error.ts';
import type { ImageSet } from '../images/image-set.ts';
import { compressedName } from '../images/own-files.ts';
import { decodeSeekTable, FOOTER, FRAME_SIZE, type Frame, seekTableSize } from '../images/seek-table.ts';
import { AT, O } from '../kernel/constants/files.ts';
import { Pins } from '../kernel/ffi.ts';
import { arenaPath, describeErrno, ERRNO, Fd, SyscallError, trySyscall } from '../kernel/syscall.ts';
import { nameOf } from './pages-files.ts';

/** The part of node:zlib that runtimes have which know Zstandard. */
interface Zstd {
  zstdCompressSync(bytes: Uint8Array, options: object): Uint8Array;
  zstdDecompressSync(bytes: Uint8Array, options: object): Uint8Array;
  readonly constants: { readonly ZSTD_c_compressionLevel: number; readonly ZSTD_c_checksumFlag: number };
}

/** @throws StasisError if the runtime does not know Zstandard */
function zstd(): Zstd {
  const zlib = process.getBuiltinModule('node:zlib') as unknown as Partial<Zstd>;
  if (zlib.zstdCompressSync && zlib.zstdDecompressSync) return zlib as Zstd;
  throw new StasisError({
    kind: 'unsupported',
    code: 'COMPRESSION',
    resource: '--compress',
    reason: `Node ${process.versions.node} does not know Zstandard`,
    remedy: 'use Node 22.15 or later, or the executable of Stasis',
  });
}

/** Compresses frames. @throws StasisError if the runtime cannot */
export function frameCompressor(): (bytes: Uint8Array) => Uint8Array {
  const { zstdCompressSync, constants } = zstd();
  // Each frame has a checksum of its content, which is compared when it is read.
  const options = { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } };
  return (bytes) => zstdCompressSync(bytes, options);
}

/** Where compressed files are that pieces of page contents name, by the names they have there. */
const places = new Map<string, FilePlace & { readonly size: number }>();

/**
 * The compressed pages file of a set, if it has one: by which name {@link CompressedFile} opens it, and how many bytes
 * it holds.
 * @throws ImageError if it is damaged; StasisError if the runtime cannot decompress it
 */
export function findCompressed(
  set: ImageSet,
  pagesId: number,
): { readonly file: string; readonly size: number } | undefined {
  const name = compressedName(pagesId);
  const file = `${set.dir}/${name}`;
  const size = set.disk.status(file)?.size;
  if (size === undefined) return undefined;
  zstd();
  places.set(file, { ...set.place(name), size });
  using opened = new CompressedFile(file);
  return { file, size: opened.size };
}

/** An open file of compressed page contents. */
export class CompressedFile implements Disposable {
  /** How many bytes it holds. */
  readonly size: number;
  readonly #name: string;
  readonly #file: Fd;
  readonly #frames: readonly Frame[];
  /** Where each frame begins. */
  readonly #offsets: Float64Array;
  /** The frame that was read last, which the next read goes on with in most cases. */
  #last: { readonly index: number; readonly bytes: Uint8Array } | undefined;

  /** @throws ImageError */
  constructor(path: string) {
    this.#name = nameOf(path);
    const place = places.get(path);
    if (!place) throw new StasisError({ kind: 'internal', resource: path, reason: 'not found before it is read' });
    const opened = trySyscall('openat', AT.FDCWD, arenaPath(place.path), O.RDONLY | O.CLOEXEC | O.NONBLOCK);
    if (opened < 0) throw new ImageError({ file: this.#name, reason: describeErrno(opened) });
    this.#file = new Fd(opened);
    try {
      const { offset, size } = place;
      const end = offset + size;
      const tableSize = size < FOOTER ? 0 : seekTableSize(this.#name, this.#bytes(end - FOOTER, FOOTER));
      if (tableSize === 0 || tableSize > size) throw this.#error('it ends too early');
      this.#frames = decodeSeekTable(this.#name, this.#bytes(end - tableSize, tableSize), size);
      this.#offsets = new Float64Array(this.#frames.length);
      let at = offset;
      this.#frames.forEach(({ packed }, i) => {
        this.#offsets[i] = at;
        at += packed;
      });
      this.size = this.#frames.reduce((sum, { plain }) => sum + plain, 0);
    } catch (error) {
      this.#file[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads some of the content to an address of ours. @throws ImageError */
  read(offset: number, length: number, address: number): void {
    for (let done = 0; done < length; ) {
      const index = Math.floor((offset + done) / FRAME_SIZE);
      const frame = this.#frame(index);
      const from = offset + done - index * FRAME_SIZE;
      const part = frame.subarray(from, from + length - done);
      if (part.length === 0) throw this.#error('it ends too early');
      copyTo(address + done, part);
      done += part.length;
    }
  }

  /** Decompresses everything, which compares the checksums. @throws ImageError */
  verify(): void {
    for (let index = 0; index < this.#frames.length; index++) this.#frame(index);
  }

  #frame(index: number): Uint8Array {
    if (this.#last?.index === index) return this.#last.bytes;
    const frame = this.#frames[index];
    if (!frame) throw this.#error('it ends too early');
    const packed = this.#bytes(this.#offsets[index] as number, frame.packed);
    let bytes: Uint8Array | undefined;
    try {
      bytes = zstd().zstdDecompressSync(packed, { maxOutputLength: FRAME_SIZE });
    } catch {
      // Reported below, with the frame.
    }
    if (bytes?.length !== frame.plain) throw this.#error(`its content is not what the dump wrote, in frame ${index}`);
    this.#last = { index, bytes };
    return bytes;
  }

  #bytes(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const got = trySyscall('pread64', this.#file.number, bytes.subarray(done), length - done, offset + done);
      if (got > 0) done += got;
      else if (got !== -ERRNO.EINTR) throw this.#error(got === 0 ? 'it ends too early' : describeErrno(got));
    }
    return bytes;
  }

  #error(reason: string): ImageError {
    return new ImageError({ file: this.#name, reason });
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}

/** Copies bytes to any address of ours: a mapping, or a buffer that is pinned. */
function copyTo(address: number, bytes: Uint8Array): void {
  using pins = new Pins();
  const vectors = new BigUint64Array([
    BigInt(pins.address(bytes)),
    BigInt(bytes.length),
    BigInt(address),
    BigInt(bytes.length),
  ]);
  const local = pins.address(vectors);
  const got = trySyscall('process_vm_writev', process.pid as LocalFd, local, 1, local + 16, 1, 0);
  if (got !== bytes.length) throw new SyscallError('process_vm_writev', got < 0 ? -got : ERRNO.EFAULT);
}
