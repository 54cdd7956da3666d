/**
 * Checksums of page contents: of each lot that goes through the buffer of a dump, while it is in the processor's cache.
 * CRC-32C of its four quarters, by machine code: in JavaScript they would take longer than to copy the pages.
 */

import { thisArch } from '../arch/index.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { nativeFunction } from '../kernel/native-function.ts';

/** Four words of 32 bits. */
export const SUMS_SIZE = 16;

/** The sums of buffers of ours. */
export class PageSums {
  readonly #result = new PinnedBuffer(new Uint8Array(SUMS_SIZE));
  #compute: ((from: number, length: number, result: number) => number) | undefined;

  /** The sums of some of our memory, in hexadecimal; undefined where the processor cannot compute them. */
  of(address: number, length: number): string | undefined {
    this.#compute ??= nativeFunction(thisArch().pageSums());
    return this.#compute(address, length, this.#result.address) === 0 ? hexSums(this.#result.view) : undefined;
  }

  [Symbol.dispose](): void {
    this.#result[Symbol.dispose]();
  }
}

/** The result of the machine code, as the manifest has it: four numbers of eight hexadecimal digits. */
export function hexSums(result: Uint8Array): string {
  const view = new DataView(result.buffer, result.byteOffset, SUMS_SIZE);
  return [0, 4, 8, 12].map((at) => view.getUint32(at, true).toString(16).padStart(8, '0')).join('');
}
