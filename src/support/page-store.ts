/**
 * Finds the contents of stored pages: in the pages file of this image set or, for pages that had not changed since the
 * previous dump, in the pages file of its parent, or of the parent's parent.
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import { Part } from '../base/part.ts';
import { firstIndex } from '../base/search.ts';
import type { FilePlace } from '../images/disk.ts';
import { ImageError } from '../images/error.ts';
import { type ImageId, ImageSet } from '../images/image-set.ts';
import { PARENT } from '../images/image-set-writer.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import { compressedName, FREED } from '../images/own-files.ts';
import { PageFlags, type PageMap } from '../images/pagemap.ts';

const COMPRESSED = new Part(() => require('./compressed-pages.ts') as typeof import('./compressed-pages.ts'));
const FREED_PAGES = new Part(() => require('./freed-pages.ts') as typeof import('./freed-pages.ts'));

/** A range of memory and where its content is stored. Numbers are bytes. */
export interface StoredPiece {
  readonly start: number;
  readonly length: number;
  /** Path of the pages file, or of the file it is a part of. */
  readonly file: string;
  readonly offset: number;
}

/** A pagemap of either kind. */
type PagemapKind = typeof Images.pagemap | typeof Images.shmemPagemap;

/**
 * The stored pages of a task or a shared segment, ascending. Pieces adjacent both in memory and in the file are joined.
 * Pages that are to be loaded on demand (lazy) are not included. Undefined if there is no such pagemap.
 *
 * @throws ImageError for a damaged pagemap, a pages file that is too short, or pages missing in the parent
 */
export function storedPieces(
  set: ImageSet,
  kind: PagemapKind,
  id: ImageId,
  pageSize = PAGE_SIZE,
): StoredPiece[] | undefined {
  const pieces = piecesOf(set, kind, id, pageSize, new Set());
  const isThin = thinnedChains.get(set) ?? chainOf(set).some(isThinned);
  thinnedChains.set(set, isThin);
  if (pieces && isThin) FREED_PAGES.load().requireKept(chainOf(set), pieces, imageName(kind, id));
  return pieces;
}

/** Whether deduplication has freed something of a set, or of one before it. */
const thinnedChains = new WeakMap<ImageSet, boolean>();

/** The error for a page that the images lack, since the dump has kept it (`dump --lazy-pages`). */
export function keptByDump(pid: number, address: number, remedy: string): ImageError {
  const reason = `the page at 0x${address.toString(16)} is not in the images: the dump has kept it`;
  return new ImageError({ file: `pagemap-${pid}.img`, code: 'PAGES_ELSEWHERE', reason, remedy });
}

/** Whether deduplication has freed something of a set. */
export function isThinned(set: ImageSet): boolean {
  return set.plain(FREED) !== undefined;
}

/** The piece that contains an address; `pieces` as {@link storedPieces} returns them. */
export function findPiece(pieces: readonly StoredPiece[], address: number): StoredPiece | undefined {
  const piece = pieces[lastAtOrBefore(pieces, address)];
  return piece && address < piece.start + piece.length ? piece : undefined;
}

/** The parent image set of an incremental dump; undefined if there is none. */
export function parentOf(set: ImageSet): ImageSet | undefined {
  const dir = `${set.dir}/${PARENT}`;
  return set.disk.status(dir) ? new ImageSet(dir, set.onUnknown, set.disk) : undefined;
}

/** A set, its parent, the parent of that, and so on. A set that is its own parent ends the chain. */
export function chainOf(images: ImageSet): ImageSet[] {
  const chain: ImageSet[] = [];
  const seen = new Set<string>();
  for (let set: ImageSet | undefined = images; set; set = parentOf(set)) {
    const { dev, ino } = set.disk.status(set.dir) ?? {};
    if (seen.has(`${dev}:${ino}`)) break;
    seen.add(`${dev}:${ino}`);
    chain.push(set);
  }
  return chain;
}

function piecesOf(
  set: ImageSet,
  kind: PagemapKind,
  id: ImageId,
  pageSize: number,
  visited: Set<string>,
): StoredPiece[] | undefined {
  const file = imageName(kind, id);
  const { dev, ino } = set.disk.status(set.dir) ?? {};
  if (visited.has(`${dev}:${ino}`)) throw new ImageError({ file, reason: `${set.dir} is its own parent` });
  visited.add(`${dev}:${ino}`);
  const map = set.readPagemap(kind, id);
  if (!map) return undefined;
  const store = storeOf(set, map, pageSize, file);
  const inherits = map.runs.some((run) => run.flags & PageFlags.PARENT);
  const inherited = inherits ? piecesOf(requireParent(set, file), kind, id, pageSize, visited) : [];
  return assemble(store, map, inherited ?? [], pageSize, file);
}

function requireParent(set: ImageSet, file: string): ImageSet {
  const parent = parentOf(set);
  if (parent) return parent;
  throw new ImageError({
    file,
    code: 'IMAGE_MISSING',
    reason: `pages of it are in the images of an earlier dump, and there is no ${set.dir}/parent`,
    remedy: 'put that folder where the link "parent" points to',
  });
}

/**
 * Finds a pages file, and checks its size. Without this, a truncated pages file would be noticed only when memory is
 * filled, and a truncated pagemap never.
 */
function storeOf(set: ImageSet, map: PageMap, pageSize: number, file: string): FilePlace {
  let needed = 0;
  for (const run of map.runs) if (run.flags & PageFlags.PRESENT) needed += run.pages * pageSize;
  const name = imageName(Images.pages, map.pagesId);
  const plain = set.disk.status(`${set.dir}/${name}`);
  const packed = plain ? undefined : compressedOf(set, map.pagesId);
  const size = (plain ?? packed)?.size;
  if (size === undefined) {
    if (needed === 0) return set.place(name);
    throw new ImageError({ file: name, reason: `missing, but named by ${file}` });
  }
  if (size !== needed) {
    const named = packed ? compressedName(map.pagesId) : name;
    throw new ImageError({ file: named, reason: `${size} bytes where ${file} tells of ${needed}` });
  }
  return packed ? { path: packed.file, offset: 0 } : set.place(name);
}

/** The compressed pages file of a set, if it has one. */
function compressedOf(set: ImageSet, pagesId: number): { readonly file: string; readonly size: number } | undefined {
  if (!set.disk.status(`${set.dir}/${compressedName(pagesId)}`)) return undefined;
  return COMPRESSED.load().findCompressed(set, pagesId);
}

function assemble(
  { path: file, offset: begin }: FilePlace,
  map: PageMap,
  inherited: readonly StoredPiece[],
  pageSize: number,
  name: string,
): StoredPiece[] {
  const pieces: StoredPiece[] = [];
  let offset = begin;
  for (const run of map.runs) {
    const length = run.pages * pageSize;
    if (run.flags & PageFlags.PARENT) {
      for (const piece of cut(inherited, run.start, length, name)) join(pieces, piece);
    } else if (run.flags & PageFlags.PRESENT) {
      join(pieces, { start: run.start, length, file, offset });
      offset += length;
    }
  }
  return pieces;
}

/** The parts of `pieces` that make up a range. @throws ImageError if some of it is not stored */
function* cut(pieces: readonly StoredPiece[], start: number, length: number, file: string): Generator<StoredPiece> {
  const end = start + length;
  let at = start;
  for (let i = Math.max(0, lastAtOrBefore(pieces, start)); at < end; i++) {
    const piece = pieces[i];
    if (!piece || piece.start > at || piece.start + piece.length <= at) {
      throw new ImageError({
        file,
        reason: `the page at 0x${at.toString(16)} is said to be in the parent, but is not`,
      });
    }
    const skipped = at - piece.start;
    const taken = Math.min(piece.length - skipped, end - at);
    yield { start: at, length: taken, file: piece.file, offset: piece.offset + skipped };
    at += taken;
  }
}

/** Appends a piece, or lengthens the last one if the piece continues it. */
function join(pieces: StoredPiece[], piece: StoredPiece): void {
  const last = pieces.at(-1);
  const continues =
    last?.file === piece.file && last.start + last.length === piece.start && last.offset + last.length === piece.offset;
  if (last && continues) pieces[pieces.length - 1] = { ...last, length: last.length + piece.length };
  else pieces.push(piece);
}

/** The index of the last piece that starts at or before an address; -1 if there is none. */
function lastAtOrBefore(pieces: readonly StoredPiece[], address: number): number {
  // The index is below the length.
  return firstIndex(pieces.length, (index) => (pieces[index] as StoredPiece).start <= address) - 1;
}
