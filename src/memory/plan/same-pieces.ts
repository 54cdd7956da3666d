/** Which pages have other contents than before, by where their contents are stored. Pure. */
import type { StoredPiece } from '../../support/page-store.ts';
import { endOf } from './ranges.ts';

/**
 * The parts of `now` that are not stored at the same place in `before`. Both lists are ascending, and so is this. Files
 * of different paths are the same if `identity` says so.
 */
export function differing(
  now: readonly StoredPiece[],
  before: readonly StoredPiece[],
  identity: (file: string) => string = (file) => file,
): StoredPiece[] {
  const found: StoredPiece[] = [];
  let next = 0;
  for (const piece of now) {
    const end = endOf(piece);
    let at = piece.start;
    while (next < before.length && endOf(before[next]) <= at) next++;
    for (let i = next; at < end; i++) {
      const old = before[i];
      if (!old || old.start >= end) {
        add(found, piece, at, end);
        break;
      }
      if (old.start > at) {
        add(found, piece, at, old.start);
        at = old.start;
      }
      const until = Math.min(end, endOf(old));
      const isSame =
        identity(old.file) === identity(piece.file) && old.offset - old.start === piece.offset - piece.start;
      if (!isSame) add(found, piece, at, until);
      at = until;
    }
  }
  return found;
}

/** Adds a part of a piece, or lengthens the last one. */
function add(found: StoredPiece[], { start, file, offset }: StoredPiece, from: number, to: number): void {
  const part = { start: from, length: to - from, file, offset: offset + from - start };
  const last = found.at(-1);
  const continues = last && last.file === file && endOf(last) === from && last.offset + last.length === part.offset;
  if (continues) found[found.length - 1] = { ...last, length: last.length + part.length };
  else found.push(part);
}
