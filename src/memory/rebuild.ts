/**
 * Rebuilds an address space in a process that was just forked: unmaps what it cannot use, moves the vdso and vvar to
 * their old place, makes the mappings, and fills in the contents.
 */
import { PAGE_SIZE } from '../arch/page-size.ts';
import type { LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { logDebug } from '../base/log.ts';
import { Part } from '../base/part.ts';
import type { PageRange, RestoreTask } from '../contract/contract.ts';
import { O } from '../kernel/constants/files.ts';
import { MADV, MAP, PROT } from '../kernel/constants/memory.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseSmaps } from '../kernel/proc/smaps.ts';
import { isCompressed, PagesFiles } from '../support/pages-files.ts';
import { closeAll, handOver } from '../tracee/handover.ts';
import { AREA } from '../tracee/program.ts';
import { equalPages } from './compare.ts';
import { lock } from './finish.ts';
import { isPlacedByKernel, placeMappings } from './fixed-place.ts';
import { type Inheritance, inherit, type Kept, type Standing } from './plan/inherit.ts';
import { addRange, anyBetween, common, totalOf, without } from './plan/ranges.ts';
import { differing } from './plan/same-pieces.ts';
import { fill } from './sinks/task.ts';
import { lazyPagesOf, piecesIn, rangesOf, type StoredPiece, storedPagesOf } from './sources/images.ts';
import {
  ancestorOf,
  commonWith,
  fileKey,
  isFile,
  isHuge,
  type Mapping,
  mappingsOf,
  noteSpace,
  type Space,
  type StandingMapping,
  spaceOf,
  storedUnder,
} from './space.ts';
import { attachSegments, isAttached } from './sysv-attach.ts';
import { takeMappedLock } from './take-lock.ts';
import { isInPlace, type KernelPages, kernelPagesOf, placeKernelPages } from './vdso-move.ts';

// Only where a migration has prepared something.
const PREPARED = new Part(() => require('./prepared.ts') as typeof import('./prepared.ts'));

/** The address space a process inherits. */
interface Birthright {
  readonly standing: readonly Standing[];
  readonly kernel: KernelPages | undefined;
  /** The stored pages of its origin, which it has inherited. */
  readonly stored: readonly StoredPiece[];
  readonly origin: RestoreTask | undefined;
  /** Whether the stored pages were there before the restore began. */
  readonly isPrepared: boolean;
}

/** Phase `memory`. Before and after it the task has no descriptor but its socket. */
export function rebuildMemory(task: RestoreTask): void {
  const lazy = task.context.lazy ? lazyPagesOf(task.context.images, storedUnder(task)) : [];
  const all = storedPagesOf(storedUnder(task), task.context);
  const stored = lazy.length > 0 ? piecesIn(all, without(rangesOf(all), lazy)) : all;
  // A huge page would be there for all of its pages, also for those that are to be brought later.
  if (task.context.lazy) task.batch.call('prctl', PR.SET_THP_DISABLE, 1, 0, 0, 0);
  const birth = birthOf(task);
  const mappings = mappingsOf(task);
  const known = birth.origin && commonWith(task, birth.origin);
  const heritage = inherit(birth.standing, known ? mappings : mappings.map(disowned), fencesOf(task, birth.kernel));
  const contents = compareContents(task, birth, stored, regionsOf(mappings, heritage), known);
  for (const { start, length } of heritage.unmapped) task.batch.call('munmap', start, length);
  const { pages: kernel, filled } = placeKernelPages(task, birth.kernel, stored);
  const written = piecesIn(stored, without(contents.written, filled));
  using files = new PagesFiles();
  const descriptors = handOverFiles(task, mappings, heritage, written, files);
  const standing = mappings.map((mapping, i) => {
    const writing = anyBetween(written, mapping.start, mapping.start + mapping.length);
    const kept = heritage.kept.get(i);
    return kept ? keep(task, mapping, kept, writing) : map(task, mapping, descriptors.mapped, writing);
  });
  attachSegments(task);
  const rings = mappings.filter(({ entry }, i) => !heritage.kept.has(i) && isPlacedByKernel(entry, task));
  const fdOf = ({ entry }: Mapping): number => descriptors.mapped.get(fileKey(entry)) ?? -1;
  placeMappings(
    task,
    rings.map((mapping) => ({ mapping, fd: fdOf(mapping) })),
  );
  for (const { start, length } of contents.dropped) task.batch.call('madvise', start, length, MADV.DONTNEED);
  fill(task, written, files, descriptors.pages);
  // Children do not inherit locks. A mapping that is writable only for the moment is not locked yet, since mlock would
  // copy pages of the file.
  const locked = standing.map((mapping) => (mapping.prot === mapping.entry.prot ? lock(task, mapping) : mapping));
  if (descriptors.handedOver) closeAll(task.seed, task.batch);
  noteSpace(task, { mappings: locked, kernel, stored, lazy });
}

/**
 * A task inherits the address space of its origin as phase `memory` left it; the root has the address space of a seed.
 */
function birthOf(task: RestoreTask): Birthright {
  const origin = ancestorOf(task);
  const space = origin && spaceOf(origin);
  if (space) {
    return { standing: standingIn(space), kernel: space.kernel, stored: space.stored, origin, isPrepared: false };
  }
  const present = parseSmaps(readProc(task.tracee.pid, 'maps')).filter((vma) => vma.name !== '[vsyscall]');
  const { prepared } = task.context;
  const isPrepared = prepared !== undefined && task.pid === task.context.root;
  const keyOf = (start: number, end: number): string =>
    isPrepared && anyBetween(prepared.mappings, start, end) ? PLAIN_KEY : '';
  const standing = present.map(({ start, end, prot }) => ({
    start,
    length: end - start,
    key: keyOf(start, end),
    prot,
  }));
  return { standing, kernel: kernelPagesOf(present), stored: isPrepared ? prepared.pieces : [], origin, isPrepared };
}

/** The key of private anonymous memory without further flags. */
const PLAIN_KEY = `${MAP.PRIVATE | MAP.ANONYMOUS}`;

function standingIn({ mappings, kernel }: Space): Standing[] {
  const standIn = kernel?.standIn;
  if (!standIn) return [...mappings];
  return [...mappings, { ...standIn, key: '', prot: 0 }].sort((a, b) => a.start - b.start);
}

/**
 * Huge pages are inherited only if the images say which pages were shared. If pages that merely are equal were shared
 * now, a later write would need a free huge page that may not be there.
 */
function disowned(mapping: Mapping): Mapping {
  return isHuge(mapping.entry) ? { ...mapping, key: '' } : mapping;
}

/** Ranges that must not be unmapped, apart from the mappings that are kept. */
function fencesOf(task: RestoreTask, kernel: KernelPages | undefined): PageRange[] {
  const fences: PageRange[] = [{ start: task.seed.remote.area, length: AREA.length }, ...(kernel?.parts ?? [])];
  if (kernel?.standIn && isInPlace(task, kernel)) fences.push(kernel.standIn);
  return fences;
}

/** The parts of mappings that exist already. */
function regionsOf(mappings: readonly Mapping[], { kept }: Inheritance): PageRange[] {
  const regions: PageRange[] = [];
  mappings.forEach(({ start }, i) => {
    const there = kept.get(i);
    if (there) addRange(regions, start, there.length);
  });
  return regions;
}

/** Which pages are written and which are discarded. */
interface Contents {
  readonly written: readonly PageRange[];
  /** Pages of the origin in inherited mappings that the task did not have. */
  readonly dropped: readonly PageRange[];
}

function compareContents(
  task: RestoreTask,
  { origin, stored: theirs, isPrepared }: Birthright,
  stored: readonly StoredPiece[],
  regions: readonly PageRange[],
  known: readonly PageRange[] | undefined,
): Contents {
  const own = rangesOf(stored);
  const inherited = common(rangesOf(theirs), regions);
  if (inherited.length === 0) return { written: own, dropped: [] };
  if (isPrepared) {
    const there = piecesIn(theirs, regions);
    const anew = common(rangesOf(differing(stored, there, PREPARED.load().fileIdentity())), regions);
    return { written: [...without(own, regions), ...anew].sort(byStart), dropped: without(inherited, own) };
  }
  if (!origin) return { written: own, dropped: [] };
  const both = common(inherited, own);
  const same = known ? common(both, known) : equalPages(stored, theirs, both);
  logDebug(
    `memory: task ${task.pid} shares ${totalOf(same) / PAGE_SIZE} pages with ${origin.pid}${known ? '' : ' (compared)'}`,
  );
  return { written: without(own, same), dropped: without(inherited, own) };
}

const byStart = (a: PageRange, b: PageRange): number => a.start - b.start;

/** The descriptors the task has for mapped files and pages files during this phase. */
interface Descriptors {
  readonly mapped: ReadonlyMap<string, number>;
  readonly pages: ReadonlyMap<string, number>;
  readonly handedOver: boolean;
}

function handOverFiles(
  task: RestoreTask,
  mappings: readonly Mapping[],
  { kept }: Inheritance,
  written: readonly StoredPiece[],
  files: PagesFiles,
): Descriptors {
  const wanted = new Map<string, LocalFd>();
  const ids = new Map<string, number>();
  mappings.forEach(({ entry }, i) => {
    if (kept.has(i) || !isFile(entry)) return;
    const key = fileKey(entry);
    if (!wanted.has(key)) wanted.set(key, task.context.open(Number(entry.shmid), entry.fdflags ?? O.RDONLY));
    ids.set(key, Number(entry.shmid));
  });
  const paths = [...new Set(written.map(({ file }) => file))].filter((path) => !isCompressed(path));
  const locals = [...wanted.values(), ...paths.map((path) => files.descriptor(path))];
  const arrived = handOver(task.seed, task.batch, locals);
  const mapped = new Map([...wanted.keys()].map((key, i) => [key, arrived[i] ?? -1]));
  for (const [key, id] of ids) takeMappedLock(task, id, mapped.get(key) ?? -1);
  const pages = new Map(paths.map((path, i) => [path, arrived[wanted.size + i] ?? -1]));
  return { mapped, pages, handedOver: locals.length > 0 };
}

/**
 * Makes a mapping, writable if contents are to be written to it. System V segments are left to {@link attachSegments},
 * rings of io_uring to {@link placeMappings}.
 */
function map(
  task: RestoreTask,
  mapping: Mapping,
  descriptors: ReadonlyMap<string, number>,
  writing: boolean,
): StandingMapping {
  const { start, length, entry } = mapping;
  if (isAttached(entry) || isPlacedByKernel(entry, task)) return { ...mapping, prot: entry.prot, locked: false };
  const fd = isFile(entry) ? descriptors.get(fileKey(entry)) : -1;
  if (fd === undefined || (fd < 0 && (entry.flags & MAP.ANONYMOUS) === 0)) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'MEMORY_MAPPING',
      task: task.ref,
      resource: `mapping ${start.toString(16)}`,
      reason: `a mapping of this kind (status 0x${entry.status.toString(16)}) is not carried yet`,
    });
  }
  // For memory that may only be executed the kernel takes a protection key, at once; it gets that protection at last.
  const readable = entry.prot === PROT.EXEC ? PROT.EXEC | PROT.READ : entry.prot;
  const prot = writing ? readable | PROT.WRITE : readable;
  // MAP_LOCKED is left out: mlock before the contents are filled in would fault in pages twice.
  const flags = (entry.flags & ~MAP.LOCKED) | MAP.FIXED_NOREPLACE;
  task.batch.call('mmap', start, length, prot, flags, fd, fd < 0 ? 0 : Number(entry.pgoff));
  return { ...mapping, prot, locked: false };
}

/** Keeps an inherited mapping. Its protection is changed only if contents have to be written to it. */
function keep(task: RestoreTask, mapping: Mapping, kept: Kept, writing: boolean): StandingMapping {
  const { start, length, entry } = mapping;
  if (kept.length < length) task.batch.call('mremap', start, kept.length, length, 0);
  if (!writing || kept.prot & PROT.WRITE) return { ...mapping, prot: kept.prot, locked: false };
  const prot = entry.prot | PROT.WRITE;
  task.batch.call('mprotect', start, length, prot);
  return { ...mapping, prot, locked: false };
}
