/** Lots: the pages that pass through the buffer of a dump together. Pure. */
import type { PageRange } from '../../contract/contract.ts';
import { UIO_MAXIOV } from '../../kernel/constants/memory.ts';
import { isStored, type Origin, type PlannedRun } from './page-plan.ts';

/** The size of the buffer in bytes. It is small enough to stay in the processor's cache between read and write. */
export const LOT_SIZE = 1 << 20;

/** Pages of one origin, few enough for the buffer and for one system call. */
export interface Lot {
  readonly pieces: readonly PageRange[];
  /** Bytes of all pieces. */
  readonly length: number;
  /** Their offset among all stored bytes. */
  readonly offset: number;
  readonly origin: Origin;
}

/** Cuts what a plan stores into lots, in ascending order. */
export function lotsOf(plan: readonly PlannedRun[]): Lot[] {
  const lots: Lot[] = [];
  let pieces: PageRange[] = [];
  let length = 0;
  let offset = 0;
  let origin: Origin = 'own';
  const close = (): void => {
    lots.push({ pieces, length, offset, origin });
    offset += length;
    pieces = [];
    length = 0;
  };
  for (const run of plan) {
    if (!isStored(run)) continue;
    if (pieces.length > 0 && run.origin !== origin) close();
    origin = run.origin;
    for (let done = 0; done < run.length; ) {
      const piece = Math.min(LOT_SIZE - length, run.length - done);
      pieces.push({ start: run.start + done, length: piece });
      done += piece;
      length += piece;
      if (length === LOT_SIZE || pieces.length === UIO_MAXIOV) close();
    }
  }
  if (pieces.length > 0) close();
  return lots;
}
