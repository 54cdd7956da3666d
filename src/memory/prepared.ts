/**
 * Memory of a tree's root that is in its place before the restore begins: the root exists already, as a seed, with its
 * large private anonymous mappings and what has come of their pages. A migration prepares it while the tree still runs
 * elsewhere, so that only what has changed since then is filled in when the tree stands still.
 */
import { hostPid } from '../base/brands.ts';
import { logDebug } from '../base/log.ts';
import type { PageRange, PreparedSpace, RestoreTask } from '../contract/contract.ts';
import type { ImageSet } from '../images/image-set.ts';
import { Images } from '../images/kinds.ts';
import { MADV, MAP, PROT } from '../kernel/constants/memory.ts';
import { disk } from '../kernel/disk.ts';
import { type StoredPiece, storedPieces } from '../support/page-store.ts';
import { PagesFiles } from '../support/pages-files.ts';
import { Batch } from '../tracee/batch.ts';
import { findGap } from '../tracee/gap.ts';
import { closeAll, handOver } from '../tracee/handover.ts';
import { AREA } from '../tracee/program.ts';
import { Seed } from '../tracee/seed.ts';
import { endOf, totalOf, without } from './plan/ranges.ts';
import { differing } from './plan/same-pieces.ts';
import { fill } from './sinks/task.ts';
import { piecesIn, rangesOf } from './sources/images.ts';

/** What the root's address space is to be like, as far as it is known. */
export interface WantedSpace {
  /** The mappings to prepare, ascending. */
  readonly mappings: readonly PageRange[];
  /** All ranges of addresses that a task of the tree has. */
  readonly taken: readonly PageRange[];
  /** The highest descriptor that a task of the tree has. */
  readonly fds: number;
}

/** Descriptors that a tree may have got until it is frozen. */
const MORE_DESCRIPTORS = 100;
const WRITABLE = PROT.READ | PROT.WRITE;

export class PreparedMemory implements PreparedSpace, Disposable {
  readonly pid: number;
  readonly #seed: Seed;
  readonly #batch: Batch;
  /** The highest number that a descriptor of the tree may have. */
  readonly #mostFds: number;
  #mappings: readonly PageRange[] = [];
  #pieces: readonly StoredPiece[] = [];
  /** Whether the seed belongs to a restore by now. */
  #isTaken = false;

  /** Makes the root as a seed with this PID. @throws StasisError if the PID is in use, or no process can be made */
  constructor(pid: number, { taken, fds }: WantedSpace) {
    this.pid = pid;
    this.#mostFds = fds + MORE_DESCRIPTORS;
    const numbers = new Set(Array.from({ length: this.#mostFds + 1 }, (_, i) => i));
    const ranges = [...taken].sort((a, b) => a.start - b.start);
    this.#seed = Seed.create({ pid, sibling: false, taken: numbers }, findGap(united(ranges), AREA.length));
    this.#batch = new Batch(this.#seed.remote);
    closeAll(this.#seed, this.#batch);
    this.#batch.flush();
  }

  /** The mappings that are there, ascending, all writable. */
  get mappings(): readonly PageRange[] {
    return this.#mappings;
  }

  /** What is in them. */
  get pieces(): readonly StoredPiece[] {
    return this.#pieces;
  }

  /** Brings it to the state of images. @throws StasisError */
  update(images: ImageSet, { mappings }: WantedSpace): void {
    this.#map(mappings);
    const stored = storedPieces(images, Images.pagemap, this.pid) ?? [];
    const wanted = piecesIn(stored, this.#mappings);
    const changed = differing(wanted, this.#pieces, fileIdentity());
    const gone = without(rangesOf(this.#pieces), rangesOf(wanted));
    for (const { start, length } of gone) this.#batch.call('madvise', start, length, MADV.DONTNEED);
    this.#fill(changed);
    this.#pieces = wanted;
    logDebug(`memory: ${totalOf(changed)} bytes of task ${this.pid} are prepared`);
  }

  /** Makes the mappings that are missing and unmaps those that are not wanted any more. */
  #map(wanted: readonly PageRange[]): void {
    const isSame = (a: PageRange, b: PageRange): boolean => a.start === b.start && a.length === b.length;
    const kept = this.#mappings.filter((mapping) => wanted.some((one) => isSame(one, mapping)));
    const dropped = without(this.#mappings, kept);
    for (const { start, length } of dropped) this.#batch.call('munmap', start, length);
    this.#batch.flush();
    this.#pieces = piecesIn(this.#pieces, kept);
    const made: PageRange[] = [];
    for (const mapping of wanted) {
      if (kept.some((one) => isSame(one, mapping))) continue;
      const { start, length } = mapping;
      const program = this.#batch.reserve(1);
      const flags = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED_NOREPLACE;
      const mapped = program.attempt('mmap', start, length, WRITABLE, flags, -1, 0);
      this.#batch.flush();
      // The seed has something of its own there: that mapping is made later, as all others.
      if (program.result(mapped) === start) made.push({ start, length });
    }
    this.#mappings = [...kept, ...made].sort((a, b) => a.start - b.start);
  }

  #fill(pieces: readonly StoredPiece[]): void {
    using files = new PagesFiles();
    const paths = [...new Set(pieces.map(({ file }) => file))];
    const numbers = handOver(
      this.#seed,
      this.#batch,
      paths.map((path) => files.descriptor(path)),
    );
    const { tracee } = this.#seed;
    const target = { batch: this.#batch, seed: this.#seed, tracee, ref: { pid: hostPid(this.pid) }, context: {} };
    fill(target, pieces, files, new Map(paths.map((path, i) => [path, numbers[i] ?? -1])));
    if (paths.length > 0) closeAll(this.#seed, this.#batch);
    this.#batch.flush();
  }

  /** Whether the tree fits around it: its work area and its descriptor are in nobody's way. */
  fits(tasks: readonly Pick<RestoreTask, 'mm'>[], fds: Iterable<number>): boolean {
    const { area } = this.#seed.remote;
    const isFree = tasks.every(({ mm }) => {
      return mm.vmas.every(({ start, end }) => Number(end) <= area || Number(start) >= area + AREA.length);
    });
    for (const fd of fds) if (fd > this.#mostFds) return false;
    return isFree;
  }

  /** The seed, which is the caller's from then on. */
  take(): Seed {
    this.#isTaken = true;
    return this.#seed;
  }

  [Symbol.dispose](): void {
    if (!this.#isTaken) this.#seed[Symbol.dispose]();
  }
}

/** Tells files apart that a chain of images leads to by several paths. */
export function fileIdentity(): (file: string) => string {
  const known = new Map<string, string>();
  return (file) => {
    const status = known.has(file) ? undefined : disk.status(file);
    const identity = known.get(file) ?? (status ? `${status.dev}:${status.ino}` : file);
    known.set(file, identity);
    return identity;
  };
}

/** Ranges, ascending, that may overlap, as such that do not. */
function united(ranges: readonly PageRange[]): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (const range of ranges) {
    const last = found.at(-1);
    if (last && range.start <= last.end) last.end = Math.max(last.end, endOf(range));
    else found.push({ start: range.start, end: endOf(range) });
  }
  return found;
}
