/** Moves the vdso of the running kernel to the address at which the program knows it. */

import { StasisError } from '../base/errors.ts';
import { logDebug, logWarn } from '../base/log.ts';
import type { PageRange, RestoreTask } from '../contract/contract.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import { MAP, MREMAP, PROT } from '../kernel/constants/memory.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { findGap } from '../tracee/gap.ts';
import { forceWrite, openMemory, readMemory } from '../tracee/memory.ts';
import { AREA } from '../tracee/program.ts';
import { endOf, totalOf } from './plan/ranges.ts';
import { readStored, type StoredPiece } from './sources/images.ts';
import { redirect } from './vdso.ts';
import { isVvar } from './vma.ts';

/** The kernel's pages in an address space: vvar and vdso, next to each other. */
export interface KernelPages {
  /** The mappings, in ascending order. */
  readonly parts: readonly PageRange[];
  readonly vdso: PageRange;
  /**
   * Addresses and sizes as saved in the image, once these pages have been placed for it; undefined for the pages of a
   * seed.
   */
  readonly likeSaved: string | undefined;
  /** The old vdso's image in the old place, if the running kernel's vdso had to stay elsewhere. */
  readonly standIn: PageRange | undefined;
  /**
   * The saved task had no vdso. The pages are kept for children that may need them, and unmapped when all children
   * exist.
   */
  readonly unwanted: boolean;
}

/** The result of placing the kernel's pages. */
export interface Placed {
  readonly pages: KernelPages | undefined;
  /** Ranges that need not be filled from the image any more. */
  readonly filled: readonly PageRange[];
}

/** The kernel's pages of a seed, found in its mappings. */
export function kernelPagesOf(present: readonly ProcVma[]): KernelPages | undefined {
  const vdso = present.find((vma) => vma.name === '[vdso]');
  if (!vdso) return undefined;
  const parts = present.filter((vma) => vma === vdso || isVvar(vma.name)).map(rangeOf);
  return { parts, vdso: rangeOf(vdso), likeSaved: undefined, standIn: undefined, unwanted: false };
}

function rangeOf({ start, end }: { readonly start: number; readonly end: number }): PageRange {
  return { start, length: end - start };
}

/** Whether the kernel's pages that a task inherited are where its image has them. */
export function isInPlace(task: RestoreTask, pages: KernelPages): boolean {
  return pages.likeSaved === shapeOf(task);
}

/**
 * Moves the kernel's pages to their saved place. All other mappings that do not stay must have been unmapped before.
 */
export function placeKernelPages(
  task: RestoreTask,
  pages: KernelPages | undefined,
  stored: readonly StoredPiece[],
): Placed {
  const saved = task.mm.vmas.find((vma) => vma.status & VmaStatus.VDSO);
  const target = saved && rangeOf({ start: Number(saved.start), end: Number(saved.end) });
  const filled = target ? [target] : [];
  if (!pages || isInPlace(task, pages)) return { pages, filled };
  if (!target) return { pages: { ...shift(task, pages, parkingPlace(task, pages)), unwanted: true }, filled };
  const likeSaved = shapeOf(task);
  task.batch.flush(); // earlier calls may have moved it here
  const current = readMemory(task.tracee.pid, pages.vdso.start, new Uint8Array(pages.vdso.length));
  const old = readStored(stored, target.start, target.length);
  // Moved through a temporary place, since the old and the new ranges may overlap.
  const parked = shift(task, pages, parkingPlace(task, pages));
  const fits = old && sameLayout(task, pages) && Buffer.compare(old, current) === 0;
  if (!fits) return { pages: { ...parked, likeSaved, standIn: proxy(task, parked, target, old, current) }, filled };
  return { pages: { ...shift(task, parked, target.start - (pages.vdso.start - startOf(pages))), likeSaved }, filled };
}

/** Addresses and sizes of the kernel's pages in the saved task. */
function shapeOf({ mm }: RestoreTask): string {
  const special = mm.vmas.filter((vma) => vma.status & (VmaStatus.VDSO | VmaStatus.VVAR));
  return special.map(({ start, end }) => `${start}-${end}`).join();
}

function startOf({ parts }: KernelPages): number {
  return Math.min(...parts.map((part) => part.start));
}

/** Whether the saved task had as many vvar pages, at the same distance before its vdso. */
function sameLayout(task: RestoreTask, pages: KernelPages): boolean {
  const vvar = task.mm.vmas.filter((vma) => vma.status & VmaStatus.VVAR);
  const vdso = task.mm.vmas.find((vma) => vma.status & VmaStatus.VDSO);
  const savedLength = vvar.reduce((sum, vma) => sum + Number(vma.end - vma.start), 0);
  const savedStart = Math.min(...vvar.map((vma) => Number(vma.start)));
  const length = totalOf(pages.parts) - pages.vdso.length;
  const distance = pages.vdso.start - startOf(pages);
  return savedLength === length && (length === 0 || Number(vdso?.start) - savedStart === distance);
}

/** Moves all of the kernel's pages and keeps their distances. */
function shift(task: RestoreTask, pages: KernelPages, to: number): KernelPages {
  const by = to - startOf(pages);
  const moved = ({ start, length }: PageRange): PageRange => ({ start: start + by, length });
  for (const { start, length } of pages.parts) {
    task.batch.call('mremap', start, length, length, MREMAP.MAYMOVE | MREMAP.FIXED, start + by);
  }
  return { ...pages, parts: pages.parts.map(moved), vdso: moved(pages.vdso) };
}

/** A range that is free in the saved address space and overlaps neither the work area nor the current place. */
function parkingPlace(task: RestoreTask, pages: KernelPages): number {
  const { area } = task.seed.remote;
  const taken = task.mm.vmas.map((vma) => ({ start: Number(vma.start), end: Number(vma.end) }));
  taken.push({ start: area, end: area + AREA.length });
  const start = startOf(pages);
  const end = Math.max(...pages.parts.map(endOf));
  taken.push({ start, end });
  return findGap(
    taken.sort((a, b) => a.start - b.start),
    end - start,
  );
}

/**
 * Used if the kernel has changed: its vdso is put where there is room, and the old image goes to the old place, with
 * its entry points replaced by jumps to the new functions.
 */
function proxy(
  task: RestoreTask,
  parked: KernelPages,
  at: PageRange,
  old: Uint8Array | undefined,
  current: Uint8Array,
): PageRange {
  if (!old) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'VDSO_FOREIGN',
      task: task.ref,
      resource: 'vdso',
      reason: 'the image does not hold the old vdso, and the running kernel has another',
    });
  }
  const { image, lost } = redirect(old, current, parked.vdso.start, task.tracee.arch.jumpCode);
  if (lost.length > 0) logWarn('vdso-move.ts', `the running kernel's vdso lacks ${lost.join(', ')}`);
  logDebug(`vdso: another kernel's; calls are redirected to 0x${parked.vdso.start.toString(16)}`);
  task.batch.call(
    'mmap',
    at.start,
    at.length,
    PROT.READ | PROT.EXEC,
    MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED_NOREPLACE,
    -1,
    0,
  );
  task.batch.flush();
  using mem = openMemory(task.tracee.pid);
  forceWrite(mem, at.start, image);
  return at;
}
