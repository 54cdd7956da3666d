/**
 * The proto2 wire format: varints, fixed-size values and length-prefixed bytes, read and written one at a time.
 *
 * Reading is strict: a varint longer than it must be, a value that does not fit its type or a length beyond the
 * bytes really there is an {@link ImageError}. So whatever was read is written again as the same bytes, and no
 * damaged length ever allocates anything.
 */

import { decodeText, encodeText } from '../base/text.ts';
import { ImageError } from './error.ts';

/** The encodings of values: the low three bits of a field's tag. */
export const WireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** Bytes of a page, in which pagemaps count. Images of machines with other pages are of other architectures. */
export const IMAGE_PAGE_SIZE = 4096;

const TWO_32 = 0x1_0000_0000;

/** Called with an error that describes a field the schema does not know; the field is then skipped. */
export type UnknownFieldReporter = (unknown: ImageError) => void;

/** Reads wire values from a byte array; offsets in errors are offsets in it. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly file: string;
  /** Without it, an unknown field is an error. */
  readonly onUnknown: UnknownFieldReporter | undefined;
  pos = 0;
  /** Nothing may be read at or beyond this offset: the end of the innermost message. */
  end: number;
  /** What is being read, for errors. */
  message: string | undefined;
  field: string | undefined;
  private low = 0;
  private high = 0;

  constructor(bytes: Uint8Array, file: string, onUnknown?: UnknownFieldReporter) {
    this.bytes = bytes;
    this.file = file;
    this.onUnknown = onUnknown;
    this.end = bytes.length;
  }

  /** The error for what is wrong at `offset` (here, if not said otherwise) in the current field. */
  error(reason: string, offset = this.pos): ImageError {
    return new ImageError({ file: this.file, offset, field: fieldName(this.message, this.field), reason });
  }

  /** One varint into `low` and `high`, each an unsigned half. */
  private varint(): void {
    const { bytes, end } = this;
    const start = this.pos;
    let pos = start;
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (pos >= end) throw this.error('ends in the middle of a varint', start);
      const byte = bytes[pos++] as number;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw this.error('varint longer than needed', start);
        if (shift === 63 && byte > 1) throw this.error('varint of more than 64 bits', start);
        break;
      }
      if (shift === 63) throw this.error('varint of more than 10 bytes', start);
    }
    this.pos = pos;
    this.low = low >>> 0;
    this.high = high >>> 0;
  }

  uint32(): number {
    const { pos } = this;
    if (pos < this.end) {
      const byte = this.bytes[pos] as number;
      if (byte < 0x80) {
        this.pos = pos + 1;
        return byte;
      }
    }
    this.varint();
    if (this.high !== 0) throw this.error('value of more than 32 bits', pos);
    return this.low;
  }

  /** Consumes the tag if it has one byte and comes next; returns whether it did. */
  accept(tag: number): boolean {
    if (tag >= 0x80 || this.pos >= this.end || this.bytes[this.pos] !== tag) return false;
    this.pos++;
    return true;
  }

  uint64(): bigint {
    this.varint();
    const { low, high } = this;
    if (high === 0) return BigInt(low);
    return high < 0x20_0000 ? BigInt(high * TWO_32 + low) : (BigInt(high) << 32n) | BigInt(low);
  }

  /** As {@link uint64}, for counts and sizes. */
  safeUint64(): number {
    const start = this.pos;
    this.varint();
    if (this.high >= 0x20_0000) throw this.error('value of more than 53 bits', start);
    return this.high * TWO_32 + this.low;
  }

  /** As {@link uint64}, for addresses of pages: exact, because their low bits are zero. */
  alignedUint64(): number {
    const start = this.pos;
    this.varint();
    if ((this.low & (IMAGE_PAGE_SIZE - 1)) !== 0) throw this.error('address is not aligned to pages', start);
    return this.high * TWO_32 + this.low;
  }

  /** A signed 32-bit number. Negative values are encoded sign-extended to 64 bits. */
  int32(): number {
    const start = this.pos;
    this.varint();
    const value = this.low | 0;
    if (this.high !== (value < 0 ? 0xffff_ffff : 0)) throw this.error('value outside 32 bits', start);
    return value;
  }

  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  sint32(): number {
    const zigzag = this.uint32();
    return (zigzag >>> 1) ^ -(zigzag & 1);
  }

  sint64(): bigint {
    const zigzag = this.uint64();
    return (zigzag >> 1n) ^ -(zigzag & 1n);
  }

  bool(): boolean {
    const start = this.pos;
    const value = this.uint32();
    if (value > 1) throw this.error('boolean other than 0 and 1', start);
    return value === 1;
  }

  fixed64(): bigint {
    const at = this.take(8);
    const { bytes } = this;
    let value = 0n;
    for (let i = at + 7; i >= at; i--) value = (value << 8n) | BigInt(bytes[i] as number);
    return value;
  }

  /** Four bytes, little-endian: the magics and the length before each entry. */
  fixed32(): number {
    const at = this.take(4);
    const { bytes } = this;
    return (
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24)) >>>
      0
    );
  }

  /** The next `length` bytes: a view, not a copy. */
  raw(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** A length and that many bytes: a view, not a copy. */
  lengthPrefixed(): Uint8Array {
    return this.raw(this.length());
  }

  text(): string {
    return decodeText(this.lengthPrefixed());
  }

  /** A length, checked against the bytes there are. */
  length(): number {
    const start = this.pos;
    const length = this.uint32();
    if (length > this.end - this.pos) {
      throw this.error(`${length} bytes announced, ${this.end - this.pos} there`, start);
    }
    return length;
  }

  /** Skips the value of an unknown field. */
  skip(wire: number): void {
    if (wire === WireType.varint) this.varint();
    else if (wire === WireType.fixed64) this.take(8);
    else if (wire === WireType.bytes) this.take(this.length());
    else if (wire === WireType.fixed32) this.take(4);
    else throw this.error(`unknown wire type ${wire}`);
  }

  private take(length: number): number {
    const at = this.pos;
    if (length > this.end - at) throw this.error(`${length} bytes expected, ${this.end - at} there`);
    this.pos = at + length;
    return at;
  }
}

/**
 * Writes wire values back to front, so that the length of a message is known when it has to be written. Every method
 * puts its bytes *before* those already written.
 */
export class Writer {
  readonly file: string;
  /** What is being written, for errors. */
  message: string | undefined;
  field: string | undefined;
  private buffer: Uint8Array;
  private pos: number;

  constructor(file: string, capacity = 512) {
    this.file = file;
    this.buffer = new Uint8Array(capacity);
    this.pos = capacity;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.buffer.length - this.pos;
  }

  /** A copy of what was written since the length was this one. */
  since(length: number): Uint8Array {
    return this.buffer.slice(this.pos, this.buffer.length - length);
  }

  /** All that was written; a view of the writer's buffer. */
  finish(): Uint8Array {
    return this.buffer.subarray(this.pos);
  }

  /** The error for a value that cannot be written in the current field. */
  error(reason: string): ImageError {
    return new ImageError({ file: this.file, field: fieldName(this.message, this.field), reason });
  }

  /**
   * Makes room for `count` bytes and returns where they go. May replace the buffer, so read `this.buffer` only
   * afterwards.
   */
  private room(count: number): number {
    if (count > this.pos) {
      const used = this.length;
      const grown = new Uint8Array(Math.max(this.buffer.length * 2, used + count));
      grown.set(this.buffer.subarray(this.pos), grown.length - used);
      this.buffer = grown;
      this.pos = grown.length - used;
    }
    this.pos -= count;
    return this.pos;
  }

  /** A varint of a non-negative safe integer. */
  varint(value: number): void {
    if (value < 0x80) {
      if (this.pos > 0) this.pos--;
      else this.room(1);
      this.buffer[this.pos] = value;
      return;
    }
    let size = 2;
    for (let rest = value / 0x4000; rest >= 1; rest /= 0x80) size++;
    let at = this.room(size);
    const { buffer } = this;
    let rest = value;
    while (rest >= TWO_32) {
      buffer[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    let bits = rest >>> 0;
    while (bits >= 0x80) {
      buffer[at++] = (bits & 0x7f) | 0x80;
      bits >>>= 7;
    }
    buffer[at] = bits;
  }

  uint32(value: number): void {
    if (typeof value !== 'number' || value >>> 0 !== value)
      throw this.error(`${value} is not an unsigned 32-bit value`);
    this.varint(value);
  }

  uint64(value: bigint | number): void {
    if (typeof value === 'number') {
      if (!Number.isSafeInteger(value) || value < 0) throw this.error(`${value} is not an exact unsigned value`);
      this.varint(value);
    } else if (value >= 0n && value <= 0x1f_ffff_ffff_ffffn) {
      this.varint(Number(value));
    } else {
      if (BigInt.asUintN(64, value) !== value) throw this.error(`${value} is not an unsigned 64-bit value`);
      this.bigVarint(value);
    }
  }

  int32(value: number): void {
    if (typeof value !== 'number' || (value | 0) !== value) throw this.error(`${value} is not a 32-bit value`);
    if (value >= 0) this.varint(value);
    else this.bigVarint(BigInt.asUintN(64, BigInt(value)));
  }

  int64(value: bigint | number): void {
    this.uint64(BigInt.asUintN(64, this.signed64(value)));
  }

  sint32(value: number): void {
    if (typeof value !== 'number' || (value | 0) !== value) throw this.error(`${value} is not a 32-bit value`);
    this.varint(((value << 1) ^ (value >> 31)) >>> 0);
  }

  sint64(value: bigint | number): void {
    const signed = this.signed64(value);
    this.uint64(BigInt.asUintN(64, (signed << 1n) ^ (signed >> 63n)));
  }

  bool(value: boolean): void {
    if (typeof value !== 'boolean') throw this.error(`${String(value)} is neither true nor false`);
    this.varint(value ? 1 : 0);
  }

  fixed64(value: bigint | number): void {
    let rest = BigInt(value);
    if (BigInt.asUintN(64, rest) !== rest) throw this.error(`${value} is not an unsigned 64-bit value`);
    const at = this.room(8);
    for (let i = 0; i < 8; i++, rest >>= 8n) this.buffer[at + i] = Number(rest & 0xffn);
  }

  fixed32(value: number): void {
    const at = this.room(4);
    for (let i = 0; i < 4; i++) this.buffer[at + i] = value >>> (8 * i);
  }

  raw(bytes: Uint8Array): void {
    if (!(bytes instanceof Uint8Array)) throw this.error('not bytes');
    const at = this.room(bytes.length);
    this.buffer.set(bytes, at);
  }

  /** `count` zero bytes. */
  zeros(count: number): void {
    const at = this.room(count);
    this.buffer.fill(0, at, at + count);
  }

  lengthPrefixed(bytes: Uint8Array): void {
    this.raw(bytes);
    this.varint(bytes.length);
  }

  text(value: string): void {
    if (typeof value !== 'string') throw this.error('not a string');
    this.lengthPrefixed(encodeText(value));
  }

  private signed64(value: bigint | number): bigint {
    if (typeof value === 'number' && !Number.isSafeInteger(value)) throw this.error(`${value} is not an exact value`);
    const signed = BigInt(value);
    if (BigInt.asIntN(64, signed) !== signed) throw this.error(`${value} is not a signed 64-bit value`);
    return signed;
  }

  /** A varint of an unsigned 64-bit value too large to be an exact number, shifted as two halves. */
  private bigVarint(value: bigint): void {
    let low = Number(value & 0xffff_ffffn);
    let high = Number(value >> 32n);
    const last = high < 0x100_0000 ? 7 : high < 0x8000_0000 ? 8 : 9;
    const at = this.room(last + 1);
    for (let i = 0; i < last; i++) {
      this.buffer[at + i] = (low & 0x7f) | 0x80;
      low = (low >>> 7) | ((high & 0x7f) << 25);
      high >>>= 7;
    }
    this.buffer[at + last] = low & 0x7f;
  }
}

function fieldName(message: string | undefined, field: string | undefined): string | undefined {
  return message === undefined || field === undefined ? message : `${message}.${field}`;
}
