/** Checks what images say of memory, before anything is made. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import { ImageError } from '../../images/error.ts';
import type { ImageSet } from '../../images/image-set.ts';
import { Images } from '../../images/kinds.ts';
import { compressedName } from '../../images/own-files.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { type MmEntry, VmaStatus } from '../../images/schema/memory.ts';
import { isThinned, keptByDump, parentOf, storedPieces } from '../../support/page-store.ts';

/**
 * Checks that mappings are ascending and page-aligned, and that every stored page lies in a mapping. Returns how many
 * pages are to be filled in: with `lazily` not those that are brought later. @throws ImageError
 */
export function checkMemory(images: ImageSet, pid: number, mm: MmEntry, lazily: boolean): number {
  const file = `mm-${pid}.img`;
  let end = 0n;
  for (const vma of mm.vmas) {
    if (vma.status & VmaStatus.GUARD) continue;
    const aligned = vma.start % BigInt(PAGE_SIZE) === 0n && vma.end % BigInt(PAGE_SIZE) === 0n;
    if (!aligned || vma.end <= vma.start || vma.start < end) {
      throw new ImageError({ file, field: 'vmas', reason: `impossible mapping at 0x${vma.start.toString(16)}` });
    }
    end = vma.end;
  }
  const map = images.readPagemap(Images.pagemap, pid);
  if (!map) throw new ImageError({ file: `pagemap-${pid}.img`, reason: 'image is missing' });
  requireMapped(pid, mm, map.runs);
  const now = lazily ? map.runs.filter(({ flags }) => (flags & PageFlags.LAZY) === 0) : map.runs;
  requireHere(pid, now);
  const inherits = map.runs.some((run) => run.flags & PageFlags.PARENT);
  if (inherits || mayLack(images)) storedPieces(images, Images.pagemap, pid);
  return now.reduce((sum, run) => sum + run.pages, 0);
}

/** Of the image sets that were looked at, whether they {@link mayLack} something. */
const LACKING = new WeakMap<ImageSet, boolean>();

/**
 * Whether contents of pages may not be there. If a manifest has confirmed the sizes of all files, looking up every page
 * would find no further errors.
 */
function mayLack(images: ImageSet): boolean {
  const known = LACKING.get(images);
  if (known !== undefined) return known;
  const may = isThinned(images) || isPacked(images) || images.wholeness() !== 'whole';
  LACKING.set(images, may);
  return may;
}

/** Checks that the contents of pages are not with the dump still, which has kept them (`dump --lazy-pages`). */
function requireHere(pid: number, runs: readonly PageRun[]): void {
  const kept = runs.find(({ flags }) => flags === PageFlags.LAZY);
  if (!kept) return;
  const remedy = 'restore with --lazy-pages, with a daemon that asks the dump: stasis lazy-pages --page-server';
  throw keptByDump(pid, kept.start, remedy);
}

/** Whether page contents are compressed: then it has to be seen that they can be decompressed. */
function isPacked(images: ImageSet): boolean {
  return images.disk.status(`${images.dir}/${compressedName(1)}`) !== undefined;
}

/**
 * Checks that all stored pages of segments can be found, for sets of which that is not known already.
 * @throws ImageError
 */
export function checkSegments(images: ImageSet): void {
  if (!mayLack(images) && !parentOf(images)) return;
  for (const name of images.disk.namesIn(images.dir)) {
    const id = /^pagemap-shmem-(\d+)\.img$/.exec(name)?.[1];
    if (id !== undefined) storedPieces(images, Images.shmemPagemap, BigInt(id));
  }
}

/**
 * Checks that all runs lie in mappings, in one walk: both are ascending, and there may be a hundred thousand of each.
 */
function requireMapped(pid: number, mm: MmEntry, runs: readonly PageRun[]): void {
  const mappings = mm.vmas
    .filter((vma) => (vma.status & VmaStatus.GUARD) === 0)
    .map((vma) => ({ start: Number(vma.start), end: Number(vma.end) }))
    .sort((a, b) => a.start - b.start);
  let next = 0;
  for (const { start, pages } of runs) {
    for (let at = start; at < start + pages * PAGE_SIZE; ) {
      let mapping = mappings[next];
      while (mapping && mapping.end <= at) mapping = mappings[++next];
      if (!mapping || mapping.start > at) {
        const reason = `pages at 0x${at.toString(16)} belong to no mapping`;
        throw new ImageError({ file: `pagemap-${pid}.img`, reason });
      }
      at = mapping.end;
    }
  }
}
