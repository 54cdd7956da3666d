/**
 * Compressed files that are written and read in pieces. Each piece is a gzip member of its own, whose length is in an
 * extra field (RFC 1952, 2.3.1.1), so that it can be read without those after it. Other programs take no notice: a file
 * of several members is their contents, one after the other.
 */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { writeAll } from '../../kernel/files.ts';
import { SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';

/** In bytes, of uncompressed content. */
const PIECE = 1 << 20;
/** Header: magic, deflate, FEXTRA, no time, unknown system; then the extra field with its subfield. */
const HEADER = 20;
const LENGTH_AT = 16;
const TRAILER = 8;
const SUBFIELD = [0x53, 0x54];

/** Loaded when it is needed: that takes milliseconds. */
function zlib(): typeof import('node:zlib') {
  return process.getBuiltinModule('node:zlib');
}

/** Writes a compressed file. */
export class GzipWriter {
  readonly #to: number;
  readonly #piece = new Uint8Array(PIECE);
  #filled = 0;

  constructor(to: number) {
    this.#to = to;
  }

  /** Adds bytes. */
  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + PIECE - this.#filled);
      this.#piece.set(part, this.#filled);
      this.#advance(part.length);
      done += part.length;
    }
  }

  /** Adds a part of a file, which has to be that long. @throws StasisError (io) */
  copy(from: LocalFd, offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      const room = Math.min(length - done, PIECE - this.#filled);
      const into = this.#piece.subarray(this.#filled, this.#filled + room);
      const got = trySyscall('pread64', from, into, room, offset + done);
      if (got < 0) throw new SyscallError('pread64', -got);
      if (got === 0) throw new StasisError({ kind: 'io', reason: 'a file became shorter while it was saved' });
      this.#advance(got);
      done += got;
    }
  }

  /** Writes what is left. */
  end(): void {
    if (this.#filled > 0) this.#flush();
  }

  #advance(count: number): void {
    this.#filled += count;
    if (this.#filled === PIECE) this.#flush();
  }

  #flush(): void {
    const content = this.#piece.subarray(0, this.#filled);
    const packed = zlib().deflateRawSync(content, { level: 1 });
    const member = new Uint8Array(HEADER + packed.length + TRAILER);
    const view = new DataView(member.buffer);
    member.set([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 8, 0, ...SUBFIELD, 4, 0]);
    view.setUint32(LENGTH_AT, member.length, true);
    member.set(packed, HEADER);
    view.setUint32(HEADER + packed.length, crc32(content), true);
    view.setUint32(HEADER + packed.length + 4, this.#filled, true);
    writeAll(this.#to, member);
    this.#filled = 0;
  }
}

/** Reads a compressed file from its beginning, whoever has written it. */
export class GzipReader {
  readonly #from: LocalFd;
  #at = 0;
  #piece: Uint8Array = new Uint8Array(0);
  #used = 0;

  constructor(from: LocalFd) {
    this.#from = from;
  }

  /** The next bytes: as many, or fewer at the end of the file. Valid until the next call. */
  read(length: number): Uint8Array {
    if (length <= this.#piece.length - this.#used) {
      this.#used += length;
      return this.#piece.subarray(this.#used - length, this.#used);
    }
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const part = this.some(length - filled);
      if (part.length === 0) break;
      bytes.set(part, filled);
      filled += part.length;
    }
    return bytes.subarray(0, filled);
  }

  /** At most that many of the next bytes; none at the end of the file. */
  some(most: number): Uint8Array {
    while (this.#used === this.#piece.length) {
      if (!this.#next()) return new Uint8Array(0);
    }
    const part = this.#piece.subarray(this.#used, this.#used + most);
    this.#used += part.length;
    return part;
  }

  #next(): boolean {
    const head = this.#bytes(HEADER);
    if (head.length === 0) return false;
    const ours = head.length === HEADER && head[3] === 4 && SUBFIELD.every((byte, i) => head[12 + i] === byte);
    const length = ours ? new DataView(head.buffer, head.byteOffset).getUint32(LENGTH_AT, true) : this.#rest();
    const member = this.#bytes(length);
    if (member.length < length) throw new StasisError({ kind: 'image', reason: 'a compressed file ends too early' });
    this.#at += length;
    try {
      this.#piece = zlib().gunzipSync(member);
    } catch (error) {
      throw new StasisError({ kind: 'image', reason: 'a compressed file is damaged', cause: error });
    }
    this.#used = 0;
    return true;
  }

  #rest(): number {
    const end = syscall('lseek', this.#from, 0, 2);
    return end - this.#at;
  }

  #bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const got = syscall('pread64', this.#from, bytes.subarray(filled), length - filled, this.#at + filled);
      if (got === 0) break;
      filled += got;
    }
    return bytes.subarray(0, filled);
  }
}

let table: Uint32Array | undefined;

/** CRC-32 as gzip has it. */
export function crc32(bytes: Uint8Array): number {
  const { crc32: native } = zlib() as { crc32?: (data: Uint8Array) => number };
  if (native) return native(bytes);
  table ??= Uint32Array.from({ length: 256 }, (_, i) => {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
  let crc = ~0;
  for (const byte of bytes) crc = (table[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}
