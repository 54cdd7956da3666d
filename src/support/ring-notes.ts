/**
 * Rings of io_uring in the file notes, since CRIU's images have no place for them. In files.img they are files of type
 * EXT, which CRIU does not restore without a plugin.
 */
import type { DumpContext, Json, OpenFile, RestoreContext, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import { base64, decimal, type FormType, list, object, optional, signed, tuple, whole } from '../images/form.ts';
import { FdTypes } from '../images/schema/files.ts';
import type { VmaEntry } from '../images/schema/memory.ts';
import { IORING_SETUP } from '../kernel/constants/uring.ts';
import type { ProcVma } from '../kernel/proc/smaps.ts';
import { notedFile, noteFile } from './file-notes.ts';

const KIND = 'io-uring';
/** The name of rings in /proc, as open files and as mappings. */
const RING = 'anon_inode:[io_uring]';

const form = object({
  /** Status flags of the descriptor. */
  status: whole,
  /** IORING_SETUP_*. */
  flags: whole,
  sqEntries: whole,
  cqEntries: whole,
  /** Counters of the kernel: requests taken, completions given; 32 bits each. */
  sqHead: whole,
  cqTail: whole,
  /** Offsets in the mapping of the ring. */
  array: optional(whole),
  cqes: whole,
  /** The contents of both mappings, without the zeros at their ends. */
  ring: base64,
  sqes: base64,
  /** How long the thread of the kernel that takes requests waits, in milliseconds, and its processor (SQPOLL). */
  idle: optional(whole),
  cpu: optional(whole),
  /** The process to which buffers and files belong, and its thread that alone may use the ring. */
  owner: whole,
  submitter: optional(whole),
  /** Addresses and lengths of registered buffers, and the numbers of registered files; 0 and -1 for empty places. */
  buffers: list(tuple(decimal, whole)),
  files: list(signed),
});

export type RingNote = FormType<typeof form>;

/** Whether an open file is a ring. */
export function isRing({ link }: Pick<OpenFile, 'link'>): boolean {
  return link === RING;
}

/**
 * Whether a ring has a thread of the kernel that takes its requests. That is a thread of the process that makes the
 * ring, so the process itself makes it, when all its own threads exist, and maps it then.
 */
export function isPolled({ flags }: Pick<RingNote, 'flags'>): boolean {
  return (flags & IORING_SETUP.SQPOLL) !== 0;
}

/** Whether a saved mapping of a file is one of such a ring. @throws ImageError */
export function mapsPolledRing(vma: Pick<VmaEntry, 'shmid'>, context: RestoreContext): boolean {
  const id = Number(vma.shmid);
  if (context.fileEntries.get(id)?.type !== FdTypes.EXT) return false;
  const note = notedRing(context, id);
  return note !== undefined && isPolled(note);
}

/** Records a ring, by its ID in files.img. @throws StasisError (io) */
export function noteRing(context: DumpContext, id: number, ring: RingNote): void {
  noteFile(context, KIND, id, ring as Json);
}

/** The recorded ring; undefined if the file is none. @throws ImageError */
export function notedRing(context: RestoreContext, id: number): RingNote | undefined {
  return notedFile(context, KIND, id, form);
}

/** A descriptor for each ring that a tree has open, by inode: each ring has an inode of its own. */
const RINGS = new Slot(
  ({ tasks }: SeenTree) => new Map(tasks.flatMap(({ fds }) => fds.filter(isRing).map((file) => [file.stat.ino, file]))),
);

/** Whether a mapping is one of a ring of io_uring. */
export function mapsRing(vma: Pick<ProcVma, 'name'>): boolean {
  return vma.name === RING;
}

/** A descriptor, of any task of the tree, for the ring that a mapping belongs to; undefined if there is none. */
export function ringOf(vma: Pick<ProcVma, 'ino'>, tree: SeenTree): OpenFile | undefined {
  return RINGS.of(tree).get(Number(vma.ino));
}
