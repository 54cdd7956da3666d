/** The content of a segment as a source: it is read through a descriptor of ours. */
import type { LocalFd } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import { describeErrno, trySyscall } from '../../kernel/syscall.ts';
import type { Lot } from '../plan/lots.ts';
import type { PageSource } from './source.ts';

export class SegmentSource implements PageSource {
  readonly #local: LocalFd;

  constructor(local: LocalFd) {
    this.#local = local;
  }

  /** What lies beyond the end of the segment is zeros. */
  read({ pieces }: Lot, buffer: PinnedBuffer): void {
    let filled = 0;
    for (const { start, length } of pieces) {
      const got = trySyscall('pread64', this.#local, buffer.address + filled, length, start);
      if (got < 0) {
        const resource = `a segment at 0x${start.toString(16)}`;
        throw new StasisError({ kind: 'kernel', resource, reason: `cannot be read: ${describeErrno(got)}` });
      }
      (buffer.view as Uint8Array).fill(0, filled + got, filled + length);
      filled += length;
    }
  }
}
