/** The state of address spaces between phase `memory` and phase `mapped`, and while children inherit them. */

import type { PageRange, RestoreContext, RestoreTask } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import type { VmaEntry } from '../images/schema/memory.ts';
import { VmaStatus } from '../images/schema/memory.ts';
import { O } from '../kernel/constants/files.ts';
import { MAP } from '../kernel/constants/memory.ts';
import { mapsPolledRing } from '../support/ring-notes.ts';
import type { Standing } from './plan/inherit.ts';
import { alike, decodeSharedPages, type SharedPages } from './plan/shared-pages.ts';
import type { StoredPiece } from './sources/images.ts';
import { isAttached } from './sysv-attach.ts';
import type { KernelPages } from './vdso-move.ts';

/** A mapping of the image, with plain numbers. */
export interface Mapping extends PageRange {
  readonly entry: VmaEntry;
  /**
   * Equal for mappings of the same kind that map the same part of the same file; empty for mappings that are not
   * inherited.
   */
  readonly key: string;
  /** Whether mremap(2) can lengthen it, which it cannot for huge pages. */
  readonly growable: boolean;
}

/** A mapping that has been made. */
export interface StandingMapping extends Mapping, Standing {
  /** Whether it has been locked (mlock) already. */
  readonly locked: boolean;
}

/** An address space as phase `memory` left it. */
export interface Space {
  readonly mappings: readonly StandingMapping[];
  readonly kernel: KernelPages | undefined;
  /** The stored pages that are filled in at once. */
  readonly stored: readonly StoredPiece[];
  /** The pages that are brought when they are needed. */
  readonly lazy: readonly PageRange[];
}

const SPECIAL = VmaStatus.VSYSCALL | VmaStatus.VDSO | VmaStatus.VVAR | VmaStatus.GUARD;

/** The mappings a task needs, without vdso, vvar, vsyscall, and rings that it will make itself. */
export function mappingsOf(task: RestoreTask): Mapping[] {
  return task.mm.vmas
    .filter((vma) => (vma.status & SPECIAL) === 0 && !(isFile(vma) && mapsPolledRing(vma, task.context)))
    .map((saved) => {
      const ring = (saved.status & VmaStatus.AIORING) !== 0;
      const entry = ring ? { ...saved, flags: MAP.PRIVATE | MAP.ANONYMOUS } : saved;
      const start = Number(entry.start);
      const key = ring || isAttached(entry) ? '' : keyOf(entry, start);
      return { start, length: Number(entry.end) - start, entry, key, growable: !isHuge(entry) };
    });
}

/** The key of a mapping. System V segments and AIO rings are always made anew, so they have an empty key. */
function keyOf(entry: VmaEntry, start: number): string {
  const flags = entry.flags & ~(MAP.LOCKED | MAP.FIXED | MAP.FIXED_NOREPLACE);
  return isFile(entry) ? `${flags} ${fileKey(entry)} ${Number(entry.pgoff) - start}` : `${flags}`;
}

/** Whether it is private memory of huge pages. */
export function isHuge(entry: VmaEntry): boolean {
  return (entry.flags & MAP.HUGETLB) !== 0;
}

/** Whether a file is mapped, or the rings of a packet socket. */
export function isFile(entry: VmaEntry): boolean {
  return (entry.status & (VmaStatus.FILE_PRIVATE | VmaStatus.FILE_SHARED | VmaStatus.SOCKET)) !== 0;
}

/** The key of a mapped file: its ID and open flags, since a file may be mapped with several. */
export function fileKey(entry: VmaEntry): string {
  return `${entry.shmid}/${entry.fdflags ?? O.RDONLY}`;
}

/** What this module keeps during a restore. */
interface Memory {
  readonly spaces: Map<number, Space>;
  readonly sharedPages: Map<number, SharedPages>;
}

const MEMORY = new Slot((_: RestoreContext): Memory => ({ spaces: new Map(), sharedPages: new Map() }));

/** Records the address space that phase `memory` has made for a task. */
export function noteSpace(task: RestoreTask, space: Space): void {
  MEMORY.of(task.context).spaces.set(task.pid, space);
}

/** The address space that phase `memory` has made for a task; undefined if it has made none. */
export function spaceOf(task: RestoreTask): Space | undefined {
  return MEMORY.of(task.context).spaces.get(task.pid);
}

/** The task whose address space this one inherited. If several tasks share that, the one that rebuilt it. */
export function ancestorOf(task: RestoreTask): RestoreTask | undefined {
  let { origin } = task;
  while (origin?.shares.vm) origin = origin.origin;
  return origin;
}

/** The PID under which a task's pages are stored, which is another task's if they shared their address space. */
export function storedUnder(task: RestoreTask): number {
  const { pages } = memoryStateOf(task);
  return typeof pages === 'number' ? pages : task.pid;
}

/** The pages a task certainly shares with another; undefined if the images do not say. */
export function commonWith(task: RestoreTask, other: RestoreTask): readonly PageRange[] | undefined {
  const { sharedPages } = MEMORY.of(task.context);
  for (const one of [task, other]) {
    const known = decodeSharedPages(memoryStateOf(one).common);
    if (known) sharedPages.set(storedUnder(one), known);
  }
  return alike(storedUnder(task), storedUnder(other), (pid) => sharedPages.get(pid));
}

/** State of the address space that CRIU's images have no place for. */
export interface OwnMemoryState {
  /** Names of anonymous mappings, by start address in hexadecimal. */
  readonly names: Record<string, unknown>;
  /** Start addresses. */
  readonly lockedOnFault: readonly unknown[];
  readonly sealed: readonly unknown[];
  /** See {@link SharedPages}. */
  readonly common: unknown;
  /** The PID under which the pages are stored, if it is not the task's own. */
  readonly pages: unknown;
}

/** Reads what the kind of memory has in `ownState`. Nothing of it is trusted: anybody may have written the file. */
export function memoryStateOf(task: RestoreTask): OwnMemoryState {
  const saved = task.ownState.memory;
  const known = saved !== null && typeof saved === 'object' && !Array.isArray(saved);
  const { names, lockedOnFault, sealed, common, pages } = (known ? saved : {}) as Partial<OwnMemoryState>;
  const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
  return {
    names: names ?? {},
    lockedOnFault: list(lockedOnFault),
    sealed: list(sealed),
    common,
    pages,
  };
}
