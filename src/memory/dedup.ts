/**
 * Deduplication: frees what the images of earlier dumps hold in vain, since a later one has stored the same pages anew.
 * Holes are punched into their pages files, so the sets keep their form. Only the last set can be restored afterwards.
 */
import { PAGE_SIZE } from '../arch/page-size.ts';
import { StasisError } from '../base/errors.ts';
import { logInfo } from '../base/log.ts';
import type { PageRange } from '../contract/contract.ts';
import type { ImageSet } from '../images/image-set.ts';
import { Images } from '../images/kinds.ts';
import { compressedName } from '../images/own-files.ts';
import { PageFlags, type PageMap } from '../images/pagemap.ts';
import { FALLOC_FL, O } from '../kernel/constants/files.ts';
import { openFile } from '../kernel/files.ts';
import { describeErrno, trySyscall } from '../kernel/syscall.ts';
import { type FileRange, freedRanges, isFreed, noteFreed } from '../support/freed-pages.ts';
import { chainOf } from '../support/page-store.ts';
import { addRange, common, endOf } from './plan/ranges.ts';

/** The name of a pagemap image: whether it is a segment's, and the ID. */
const PAGEMAP = /^pagemap-(shmem-)?(\d+)\.img$/;
/** The name of a pages file, compressed or not: its ID. */
const PAGES = /^(?:stasis-)?pages-(\d+)\.(?:img|zst)$/;

/**
 * Frees what the sets before `images` hold of pages that `images` has itself. Returns how many bytes.
 * @throws StasisError; ImageError if a pagemap is damaged
 */
export function freeReplaced(images: ImageSet): number {
  const [, ...earlier] = chainOf(images);
  const replaced = images.disk.namesIn(images.dir).flatMap((name) => {
    const [, shared, id] = PAGEMAP.exec(name) ?? [];
    if (id === undefined) return [];
    const kind = shared === undefined ? Images.pagemap : Images.shmemPagemap;
    const map = images.readPagemap(kind, BigInt(id));
    return map ? [{ kind, id: BigInt(id), ranges: presentIn(map).map(({ range }) => range) }] : [];
  });
  let freed = 0;
  for (const set of earlier) {
    const holes = new Map<string, FileRange[]>();
    for (const { kind, id, ranges } of replaced) {
      const map = set.readPagemap(kind, id);
      const name = `pages-${map?.pagesId}.img`;
      const known = freedRanges(set).get(name);
      const more = map ? holesOf(map, ranges).filter(([offset, length]) => !isAllFreed(known, offset, length)) : [];
      if (more.length > 0) holes.set(requirePlain(set, name, map?.pagesId ?? 0), more);
    }
    freed += punch(set, holes);
  }
  logInfo(`${freed} bytes of earlier images are freed`);
  return freed;
}

/**
 * Frees the page contents of a chain of images whose tasks are restored: none of them can be restored again. Returns
 * how many bytes.
 * @throws StasisError
 */
export function freeRestored(images: ImageSet): number {
  let freed = 0;
  for (const set of chainOf(images)) {
    const holes = new Map<string, FileRange[]>();
    for (const name of set.disk.namesIn(set.dir)) {
      const [, pagesId] = PAGES.exec(name) ?? [];
      if (pagesId === undefined) continue;
      const size = set.disk.status(`${set.dir}/${name}`)?.size ?? 0;
      if (size > 0) holes.set(requirePlain(set, `pages-${pagesId}.img`, Number(pagesId)), [[0, size]]);
    }
    freed += punch(set, holes);
  }
  logInfo(`${freed} bytes of restored images are freed`);
  return freed;
}

/** The name of a pages file, in which holes can be punched. @throws StasisError if it is compressed */
function requirePlain(set: ImageSet, name: string, pagesId: number): string {
  if (set.disk.status(`${set.dir}/${name}`) || !set.disk.status(`${set.dir}/${compressedName(pagesId)}`)) return name;
  const reason = 'is compressed: nothing of it can be freed';
  throw new StasisError({
    kind: 'unsupported',
    code: 'COMPRESSION',
    resource: `${set.dir}/${compressedName(pagesId)}`,
    reason,
  });
}

/** What a set has stored itself: the pages, and where in the pages file they begin. */
function presentIn({ runs }: PageMap): { readonly range: PageRange; readonly offset: number }[] {
  const found: { range: PageRange; offset: number }[] = [];
  let offset = 0;
  for (const { start, pages, flags } of runs) {
    if (!(flags & PageFlags.PRESENT)) continue;
    found.push({ range: { start, length: pages * PAGE_SIZE }, offset });
    offset += pages * PAGE_SIZE;
  }
  return found;
}

/** Where a pages file holds pages that were replaced. */
function holesOf(map: PageMap, replaced: readonly PageRange[]): FileRange[] {
  const holes: FileRange[] = [];
  const stored = presentIn(map);
  let next = 0;
  for (const { start, length } of common(joined(stored.map(({ range }) => range)), joined(replaced))) {
    for (let at = start; at < start + length; ) {
      while (endOf(stored[next]?.range) <= at) next++;
      const piece = stored[next];
      if (!piece) break;
      const taken = Math.min(endOf(piece.range), start + length) - at;
      const offset = piece.offset + at - piece.range.start;
      const last = holes.at(-1);
      if (last && last[0] + last[1] === offset) holes[holes.length - 1] = [last[0], last[1] + taken];
      else holes.push([offset, taken]);
      at += taken;
    }
  }
  return holes;
}

function joined(ranges: readonly PageRange[]): PageRange[] {
  const all: PageRange[] = [];
  for (const { start, length } of ranges) addRange(all, start, length);
  return all;
}

function isAllFreed(known: readonly FileRange[] | undefined, offset: number, length: number): boolean {
  return (
    isFreed(known, offset, length) && known?.some(([at, size]) => at <= offset && offset + length <= at + size) === true
  );
}

/** Punches holes into the pages files of a set, which are noted first. Returns how many bytes they have. */
function punch(set: ImageSet, holes: ReadonlyMap<string, readonly FileRange[]>): number {
  if (holes.size === 0) return 0;
  noteFreed(set, holes);
  let bytes = 0;
  for (const [name, ranges] of holes) {
    const path = `${set.dir}/${name}`;
    using file = openFile(path, O.RDWR);
    for (const [offset, length] of ranges) {
      const mode = FALLOC_FL.PUNCH_HOLE | FALLOC_FL.KEEP_SIZE;
      const result = trySyscall('fallocate', file.number, mode, offset, length);
      if (result < 0)
        throw new StasisError({ kind: 'io', resource: path, reason: `cannot be freed: ${describeErrno(result)}` });
      bytes += length;
    }
  }
  return bytes;
}
