/**
 * Finds the contents of stored pages: in the pages file of this image set or, for pages that had not changed since the
 * previous dump, in the pages file of its parent, or of the parent's parent.
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import { firstIndex } from '../base/search.ts';
import { ImageError } from '../images/error.ts';
import { type ImageId, ImageSet } from '../images/image-set.ts';
import { imageName } from '../images/kind.ts';
import { Images } from '../images/kinds.ts';
import { PageFlags, type PageMap } from '../images/pagemap.ts';

/** A range of memory and where its content is stored. Numbers are bytes. */
export interface StoredPiece {
  readonly start: number;
  readonly length: number;
  /** Path of the pages file. */
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
  return piecesOf(set, kind, id, pageSize, new Set());
}

/** The piece that contains an address; `pieces` as {@link storedPieces} returns them. */
export function findPiece(pieces: readonly StoredPiece[], address: number): StoredPiece | undefined {
  const piece = pieces[lastAtOrBefore(pieces, address)];
  return piece && address < piece.start + piece.length ? piece : undefined;
}

/** The parent image set of an incremental dump; undefined if there is none. */
export function parentOf(set: ImageSet): ImageSet | undefined {
  const dir = `${set.dir}/parent`;
  return set.disk.status(dir) ? new ImageSet(dir, set.onUnknown, set.disk) : undefined;
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
  checkSize(set, map, pageSize, file);
  const inherits = map.runs.some((run) => run.flags & PageFlags.PARENT);
  const parent = inherits ? parentOf(set) : undefined;
  const inherited = parent && piecesOf(parent, kind, id, pageSize, visited);
  return assemble(set, map, inherited ?? [], pageSize, file);
}

/**
 * Checks the size of a pages file. Without this, a truncated pages file would be noticed only when memory is filled,
 * and a truncated pagemap never.
 */
function checkSize(set: ImageSet, map: PageMap, pageSize: number, file: string): void {
  let needed = 0;
  for (const run of map.runs) if (run.flags & PageFlags.PRESENT) needed += run.pages * pageSize;
  const size = set.disk.status(set.path(Images.pages, map.pagesId))?.size;
  const name = imageName(Images.pages, map.pagesId);
  if (size === undefined) {
    if (needed === 0) return;
    throw new ImageError({ file: name, reason: `missing, but named by ${file}` });
  }
  if (size !== needed) throw new ImageError({ file: name, reason: `${size} bytes where ${file} tells of ${needed}` });
}

function assemble(
  set: ImageSet,
  map: PageMap,
  inherited: readonly StoredPiece[],
  pageSize: number,
  name: string,
): StoredPiece[] {
  const file = set.path(Images.pages, map.pagesId);
  const pieces: StoredPiece[] = [];
  let offset = 0;
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
