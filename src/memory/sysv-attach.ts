/**
 * Attaches System V segments where a task had them attached (shmat(2)). An attachment maps the whole segment, but parts
 * of it may have been unmapped, moved or protected since.
 */

import type { RestoreTask } from '../contract/contract.ts';
import { ImageError } from '../images/error.ts';
import type { VmaEntry } from '../images/schema/memory.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import { O } from '../kernel/constants/files.ts';
import { MREMAP, PROT, SHM } from '../kernel/constants/memory.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import { SAVED_SEGMENTS, segmentLength, segmentPageSize } from '../namespaces/ipc/segments.ts';
import { SAVED_IDS } from '../namespaces/made.ts';
import { findGap } from '../tracee/gap.ts';

/** Whether a mapping belongs to a System V segment. {@link attachSegments} makes these, not mmap(). */
export function isAttached(entry: VmaEntry): boolean {
  return (entry.status & VmaStatus.SYSVIPC) !== 0;
}

/** An attachment, of which some parts may be missing. */
export interface Attachment {
  readonly id: number;
  /** The address at which the first byte of the segment is, or would be. */
  readonly base: number;
  readonly writable: boolean;
  readonly pieces: readonly VmaEntry[];
  /** Whether no part is missing, so that it can be attached directly at `base`. */
  readonly whole: boolean;
}

/** The attachments that mappings, given in ascending order, are parts of. Pure. */
export function attachmentsOf(vmas: readonly VmaEntry[], lengths: (id: number) => number): Attachment[] {
  const groups = new Map<string, VmaEntry[]>();
  for (const vma of vmas) {
    if (!isAttached(vma)) continue;
    const key = `${vma.shmid} ${vma.start - vma.pgoff} ${vma.fdflags}`;
    const group = groups.get(key);
    if (group) group.push(vma);
    else groups.set(key, [vma]);
  }
  return [...groups.values()].map((pieces) => {
    const [first] = pieces as [VmaEntry]; // a group has at least one
    const id = Number(first.shmid);
    const covered = pieces.reduce((sum, { start, end }) => sum + Number(end - start), 0);
    return {
      id,
      base: Number(first.start - first.pgoff),
      writable: first.fdflags === undefined || (first.fdflags & O.ACCMODE) === O.RDWR,
      pieces,
      whole: covered === lengths(id),
    };
  });
}

/**
 * Attaches the segments of a task after its other mappings are made. Protections are set here, advice and locks later.
 */
export function attachSegments(task: RestoreTask): void {
  if (!task.mm.vmas.some(isAttached)) return;
  const saved = SAVED_SEGMENTS.of(task.context, SAVED_IDS.of(task.context, task.pid).ipc);
  const length = (id: number): number => {
    const segment = saved.get(id);
    if (segment) return segmentLength(segment.message);
    throw new ImageError({ file: `mm-${task.pid}.img`, field: 'vmas', reason: `segment ${id} is in no image` });
  };
  for (const attachment of attachmentsOf(task.mm.vmas, length)) {
    if (attachment.whole) attach(task, attachment, attachment.base);
    else
      attachPieces(task, attachment, length(attachment.id), segmentPageSize(saved.get(attachment.id)?.message ?? {}));
    protect(task, attachment);
  }
}

function attach({ batch }: RestoreTask, { id, writable }: Attachment, at: number): void {
  batch.call('shmat', id, at, writable ? 0 : SHM.RDONLY);
}

/** Attaches the whole segment where there is room for it, and moves the remaining parts to their places. */
function attachPieces(task: RestoreTask, attachment: Attachment, length: number, unit: number): void {
  task.batch.flush();
  const saved = task.mm.vmas.map((vma) => ({ start: Number(vma.start), end: Number(vma.end) }));
  const taken = [...saved, ...parseSmaps(readProc(task.tracee.pid, 'maps'))].sort((a, b) => a.start - b.start);
  const place = Math.ceil(findGap(taken, length + unit) / unit) * unit;
  attach(task, attachment, place);
  for (const { start, end, pgoff } of attachment.pieces) {
    const size = Number(end - start);
    task.batch.call('mremap', place + Number(pgoff), size, size, MREMAP.MAYMOVE | MREMAP.FIXED, Number(start));
  }
  task.batch.call('munmap', place, length);
}

function protect({ batch }: RestoreTask, { writable, pieces }: Attachment): void {
  const given = writable ? PROT.READ | PROT.WRITE : PROT.READ;
  for (const { start, end, prot } of pieces) {
    if (prot !== given) batch.call('mprotect', Number(start), Number(end - start), prot);
  }
}
