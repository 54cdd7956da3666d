/** Collects machine code: raw bytes, immediates and relative jumps. Callers give the bytes of the instructions. */
export class CodeWriter {
  #bytes: number[] = [];
  readonly #base: number;

  constructor(base = 0) {
    this.#base = base;
  }

  /** The address of the next byte. */
  get here(): number {
    return this.#base + this.#bytes.length;
  }

  /** Appends raw bytes. */
  raw(...bytes: number[]): this {
    this.#bytes.push(...bytes);
    return this;
  }

  /** Replaces the byte at an offset. */
  patch(at: number, byte: number): this {
    this.#bytes[at] = byte;
    return this;
  }

  /** Appends a 32-bit little-endian immediate. */
  imm32(value: number): this {
    return this.raw(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, (value >> 24) & 0xff);
  }

  /** Appends a 64-bit little-endian immediate. */
  imm64(value: number | bigint): this {
    const wide = BigInt.asUintN(64, BigInt(value));
    return this.imm32(Number(wide & 0xffffffffn) | 0).imm32(Number(wide >> 32n) | 0);
  }

  /** Reserves a one-byte relative displacement; the returned function makes it point to where it is called. */
  short(): () => void {
    const at = this.#bytes.length;
    this.#bytes.push(0);
    return () => {
      const distance = this.#bytes.length - (at + 1);
      if (distance > 127) throw new RangeError('jump too far');
      this.#bytes[at] = distance;
    };
  }

  /** As {@link short}, with a four-byte displacement. */
  near(): () => void {
    const at = this.#bytes.length;
    this.imm32(0);
    return () => {
      const distance = this.#bytes.length - (at + 4);
      for (let i = 0; i < 4; i++) this.#bytes[at + i] = (distance >> (8 * i)) & 0xff;
    };
  }

  /** A four-byte relative displacement back to `address`. */
  backNear(address: number): this {
    return this.imm32(address - (this.here + 4));
  }

  /** Appends zeros up to a multiple of `size`. */
  align(size: number): this {
    while (this.here % size !== 0) this.#bytes.push(0);
    return this;
  }

  /** What has been written. */
  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes);
  }
}
