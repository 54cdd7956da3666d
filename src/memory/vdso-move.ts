/** The vdso in a restored task: the running kernel's, at the place where the program remembers it. */
import { StasisError } from '../base/errors.ts';
import { logDebug, logWarn } from '../base/log.ts';
import type { PageRange, RestoreTask } from '../contract/contract.ts';
import { MREMAP } from '../kernel/constants/memory.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { findGap } from '../tracee/gap.ts';
import { forceWrite, openMemory, readMemory } from '../tracee/memory.ts';
import { AREA } from '../tracee/program.ts';
import { endOf, totalOf } from './ranges.ts';
import { readStored, type StoredPiece } from './stored.ts';
import { redirect } from './vdso.ts';
import { isVvar, VmaStatus } from './vma.ts';

/** The kernel's pages in an address space: vvar and vdso, next to each other. */
export interface KernelPages {
  /** In ascending order. */
  readonly parts: readonly PageRange[];
  readonly vdso: PageRange;
  /** The place and shape of those of the saved task that these are; undefined for those of a seed. */
  readonly likeSaved: string | undefined;
  /** An old vdso's image in its place, if the running kernel's had to go elsewhere. */
  readonly standIn: PageRange | undefined;
  /** The saved task had none: they are kept for children that may have some, and go when all are there. */
  readonly unwanted: boolean;
}

/** What a place for the kernel's pages was found for. */
export interface Placed {
  readonly pages: KernelPages | undefined;
  /** What need not be filled from the image any more. */
  readonly filled: readonly PageRange[];
}

/** Those of a seed, by its mappings. */
export function kernelPagesOf(present: readonly ProcVma[]): KernelPages | undefined {
  const vdso = present.find((vma) => vma.name === '[vdso]');
  if (!vdso) return undefined;
  const parts = present.filter((vma) => vma === vdso || isVvar(vma.name)).map(rangeOf);
  return { parts, vdso: rangeOf(vdso), likeSaved: undefined, standIn: undefined, unwanted: false };
}

function rangeOf({ start, end }: { readonly start: number; readonly end: number }): PageRange {
  return { start, length: end - start };
}

/** Whether kernel pages a task was born with are where its image has them. */
export function isInPlace(task: RestoreTask, pages: KernelPages): boolean {
  return pages.likeSaved === shapeOf(task);
}

/** Puts the kernel's pages where they belong. Everything else that is not to stay has been unmapped. */
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
  task.batch.flush(); // it may have come from elsewhere a moment ago
  const current = readMemory(task.pid, pages.vdso.start, new Uint8Array(pages.vdso.length));
  const old = readStored(stored, target.start, target.length);
  // By way of a parking place, since old and new places may overlap.
  const parked = shift(task, pages, parkingPlace(task, pages));
  const fits = old && sameLayout(task, pages) && Buffer.compare(old, current) === 0;
  if (!fits) return { pages: { ...parked, likeSaved, standIn: proxy(task, parked, target, old, current) }, filled };
  return { pages: { ...shift(task, parked, target.start - (pages.vdso.start - startOf(pages))), likeSaved }, filled };
}

/** Where the saved task had the kernel's pages. */
function shapeOf({ mm }: RestoreTask): string {
  const special = mm.vmas.filter((vma) => vma.status & (VmaStatus.VDSO | VmaStatus.VVAR));
  return special.map(({ start, end }) => `${start}-${end}`).join();
}

function startOf({ parts }: KernelPages): number {
  return Math.min(...parts.map((part) => part.start));
}

/** Whether the saved task had its vvar pages at the same distance before its vdso, and as many. */
function sameLayout(task: RestoreTask, pages: KernelPages): boolean {
  const vvar = task.mm.vmas.filter((vma) => vma.status & VmaStatus.VVAR);
  const vdso = task.mm.vmas.find((vma) => vma.status & VmaStatus.VDSO);
  const savedLength = vvar.reduce((sum, vma) => sum + Number(vma.end - vma.start), 0);
  const savedStart = Math.min(...vvar.map((vma) => Number(vma.start)));
  const length = totalOf(pages.parts) - pages.vdso.length;
  const distance = pages.vdso.start - startOf(pages);
  return savedLength === length && (length === 0 || Number(vdso?.start) - savedStart === distance);
}

/** Moves all of the kernel's pages, keeping their distances. */
function shift(task: RestoreTask, pages: KernelPages, to: number): KernelPages {
  const by = to - startOf(pages);
  const moved = ({ start, length }: PageRange): PageRange => ({ start: start + by, length });
  for (const { start, length } of pages.parts) {
    task.batch.call('mremap', start, length, length, MREMAP.MAYMOVE | MREMAP.FIXED, start + by);
  }
  return { ...pages, parts: pages.parts.map(moved), vdso: moved(pages.vdso) };
}

/** Free in the saved address space, and besides what is ours and where they are now. */
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
 * The kernel is another: its vdso stays where there is room, and at the old place goes the old image with its entry
 * points turned into jumps to the new ones.
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
      task: task.ref,
      resource: 'vdso',
      reason: 'the image does not hold the old vdso, and the running kernel has another',
    });
  }
  const { image, lost } = redirect(old, current, parked.vdso.start);
  if (lost.length > 0) logWarn('vdso-move.ts', `the running kernel's vdso lacks ${lost.join(', ')}`);
  logDebug(`vdso: another kernel's; calls are redirected to 0x${parked.vdso.start.toString(16)}`);
  task.batch.call('mmap', at.start, at.length, 5, 0x100022, -1, 0); // PROT_READ|PROT_EXEC
  task.batch.flush();
  using mem = openMemory(task.pid);
  forceWrite(mem, at.start, image);
  return at;
}
