/** Has processes make calls on one and the same processor. */
import { affinity } from '../../kernel/affinity.ts';
import type { Batch } from '../../tracee/batch.ts';

/** The processors that Stasis may use, as a mask; processes that it makes begin with that. */
let own: Uint8Array | undefined;

function ownMask(): Uint8Array {
  own ??= affinity() ?? new Uint8Array([1]);
  return own;
}

/** Has a process stay on the first of our processors from now on. */
export function stayOnOne(batch: Batch): void {
  const all = ownMask();
  const at = all.findIndex((byte) => byte !== 0);
  const lowest = (byte: number): number => byte & -byte;
  setMask(
    batch,
    all.map((byte, i) => (i === at ? lowest(byte) : 0)),
  );
}

/** Has a process run on any of them again. */
export function stayNowhere(batch: Batch): void {
  setMask(batch, ownMask());
}

function setMask(batch: Batch, mask: Uint8Array): void {
  const program = batch.reserve(1, mask.length + 8);
  program.call('sched_setaffinity', 0, mask.length, program.data(mask));
}
