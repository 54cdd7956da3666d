/** The vdso in a restored task: the running kernel's, at the place where the program remembers it. */
import { StasisError } from '../../base/errors.ts';
import { logDebug, logWarn } from '../../base/log.ts';
import { MREMAP } from '../../kernel/constants/memory.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { findGap } from '../../tracee/gap.ts';
import { forceWrite, openMemory, readMemory } from '../../tracee/memory.ts';
import { AREA } from '../../tracee/program.ts';
import type { PageRange, RestoreTask } from '../contract.ts';
import { readStored, type StoredPages } from './fill.ts';
import { redirect } from './vdso.ts';
import { isVvar, VmaStatus } from './vma.ts';

/** The kernel's pages in a seed: vvar and vdso, next to each other. */
interface Special {
  readonly vmas: readonly ProcVma[];
  readonly vdso: ProcVma;
  readonly vvarStart: number;
}

/**
 * Empties the seed of everything but the kernel's pages and the work area, and puts these where they belong.
 * Answers what need not be filled from the image any more.
 */
export function moveVdso(task: RestoreTask, stored: StoredPages): PageRange[] {
  const present = parseSmaps(readProc(task.pid, 'maps'));
  const special = findSpecial(present);
  const area = task.seed.remote.area;
  for (const vma of present) {
    const isArea = vma.start >= area && vma.end <= area + AREA.length;
    if (isArea || special?.vmas.includes(vma) || vma.name === '[vsyscall]') continue;
    task.batch.call('munmap', vma.start, vma.end - vma.start);
  }
  const saved = task.mm.vmas.find((vma) => vma.status & VmaStatus.VDSO);
  if (!special || !saved) {
    for (const vma of special?.vmas ?? []) task.batch.call('munmap', vma.start, vma.end - vma.start);
    return [];
  }
  const target = { start: Number(saved.start), length: Number(saved.end - saved.start) };
  const current = readMemory(task.pid, special.vdso.start, new Uint8Array(special.vdso.end - special.vdso.start));
  const old = readStored(stored, target.start, target.length);
  if (old && sameLayout(task, special) && Buffer.compare(old, current) === 0) {
    moveTo(task, special, target.start - (special.vdso.start - special.vvarStart));
    return [target];
  }
  proxy(task, special, target, old, current);
  return [target];
}

function findSpecial(present: readonly ProcVma[]): Special | undefined {
  const vdso = present.find((vma) => vma.name === '[vdso]');
  if (!vdso) return undefined;
  const vmas = present.filter((vma) => vma === vdso || isVvar(vma.name));
  return { vmas, vdso, vvarStart: Math.min(...vmas.map((vma) => vma.start)) };
}

/** Whether the saved task had its vvar pages at the same distance before its vdso, and as many. */
function sameLayout(task: RestoreTask, special: Special): boolean {
  const vvar = task.mm.vmas.filter((vma) => vma.status & VmaStatus.VVAR);
  const vdso = task.mm.vmas.find((vma) => vma.status & VmaStatus.VDSO);
  const savedLength = vvar.reduce((sum, vma) => sum + Number(vma.end - vma.start), 0);
  const savedStart = Math.min(...vvar.map((vma) => Number(vma.start)));
  const length =
    special.vmas.reduce((sum, vma) => sum + vma.end - vma.start, 0) - (special.vdso.end - special.vdso.start);
  const distance = special.vdso.start - special.vvarStart;
  return savedLength === length && (length === 0 || Number(vdso?.start) - savedStart === distance);
}

/** By way of a parking place, since old and new places may overlap. */
function moveTo(task: RestoreTask, special: Special, start: number): void {
  const parking = parkingPlace(task, lengthOf(special));
  shift(task, special, special.vvarStart, parking);
  shift(task, special, parking, start);
}

/** Moves all of the kernel's pages, keeping their distances. */
function shift(task: RestoreTask, special: Special, from: number, to: number): void {
  for (const vma of special.vmas) {
    const offset = vma.start - special.vvarStart;
    const size = vma.end - vma.start;
    task.batch.call('mremap', from + offset, size, size, MREMAP.MAYMOVE | MREMAP.FIXED, to + offset);
  }
}

function lengthOf(special: Special): number {
  return Math.max(...special.vmas.map((vma) => vma.end)) - special.vvarStart;
}

/** Free both in the saved address space and besides the work area. */
function parkingPlace(task: RestoreTask, length: number): number {
  const area = task.seed.remote.area;
  const taken = task.mm.vmas.map((vma) => ({ start: Number(vma.start), end: Number(vma.end) }));
  taken.push({ start: area, end: area + AREA.length });
  return findGap(
    taken.sort((a, b) => a.start - b.start),
    length,
  );
}

/**
 * The kernel is another: its vdso stays where there is room, and at the old place goes the old image with its entry
 * points turned into jumps to the new ones.
 */
function proxy(
  task: RestoreTask,
  special: Special,
  at: PageRange,
  old: Uint8Array | undefined,
  current: Uint8Array,
): void {
  if (!old) {
    throw new StasisError({
      kind: 'unsupported',
      task: task.ref,
      resource: 'vdso',
      reason: 'the image does not hold the old vdso, and the running kernel has another',
    });
  }
  const place = parkingPlace(task, lengthOf(special));
  shift(task, special, special.vvarStart, place);
  const { image, lost } = redirect(old, current, place + special.vdso.start - special.vvarStart);
  if (lost.length > 0) logWarn('vdso-move.ts', `the running kernel's vdso lacks ${lost.join(', ')}`);
  logDebug(`vdso: another kernel's; calls are redirected to 0x${place.toString(16)}`);
  task.batch.call('mmap', at.start, at.length, 5, 0x100022, -1, 0); // PROT_READ|PROT_EXEC
  task.batch.flush();
  using mem = openMemory(task.pid);
  forceWrite(mem, at.start, image);
}
