/** Which tasks a copy of their memory is made of, and what no copy has. Pure. */
import type { PageRange } from '../../contract/contract.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { mapsRing } from '../../support/ring-notes.ts';
import { isStoredWithTask } from '../own-pages.ts';
import { rangesWhere } from '../tracking/changes.ts';
import { isAioRing } from '../vma.ts';

/** The most bytes that a copy lacks and that are read while the task is stopped; with more of them none is made. */
export const MOST_APART = 16 << 20;

/** Why no copy of an address space can be made; undefined if one can. */
export function whyNoCopy(vmas: readonly ProcVma[]): string | undefined {
  // The kernel writes through pages that it has got hold of, to the task's or to the copy's.
  if (vmas.some((vma) => isAioRing(vma) || mapsRing(vma))) return 'it uses AIO or io_uring';
  // After a fork the task would need further huge pages, and gets SIGBUS if the pool has none (hugetlb_wp() in
  // mm/hugetlb.c).
  if (vmas.some((vma) => isStoredWithTask(vma) && vma.vmFlags?.has('ht'))) return 'it has huge pages of a pool';
  const apart = vmasApart(vmas).reduce((sum, vma) => sum + sizeOf(vma), 0);
  return apart > MOST_APART ? 'it has much memory that is not inherited by children' : undefined;
}

/**
 * The memory that a copy of the task does not have as it was: what children do not inherit (MADV_DONTFORK) or get as
 * zeros (MADV_WIPEONFORK), and the vdso, where code of Stasis was when the copy was made.
 */
export function rangesApart(vmas: readonly ProcVma[]): PageRange[] {
  return rangesWhere(vmas, isApart);
}

/** The mappings that {@link rangesApart} are of. */
export function vmasApart(vmas: readonly ProcVma[]): ProcVma[] {
  return vmas.filter(isApart);
}

function isApart(vma: ProcVma): boolean {
  if (!isStoredWithTask(vma)) return false;
  return vma.name === '[vdso]' || ['dc', 'wf'].some((flag) => vma.vmFlags?.has(flag));
}

function sizeOf({ anonymous = 0, swap = 0, name, start, end }: ProcVma): number {
  return name === '[vdso]' ? end - start : anonymous + swap;
}
