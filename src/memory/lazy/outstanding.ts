/** Pages of an address space that are still to be brought, while the program moves, copies and drops them. Pure. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { PageRange } from '../../contract/contract.ts';
import { endOf, firstBehind } from '../plan/ranges.ts';

/** Pages that are to be brought: where they belong now, and where they were at the dump. */
export interface Piece extends PageRange {
  /** The address at the dump of the first of them. */
  readonly from: number;
}

/** Pages that were asked for and are on their way. */
export interface Asked {
  /** What of it is still wanted, and where; ascending. */
  readonly pieces: Piece[];
}

export class Outstanding {
  /** Ascending. */
  readonly #waiting: Piece[];
  readonly #asked = new Set<Asked>();

  /** The pieces are ascending. */
  constructor(pieces: readonly Piece[]) {
    this.#waiting = [...pieces];
  }

  /** Whether everything was brought. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0 && this.#asked.size === 0;
  }

  /** Whether there are pages that nobody has asked for. */
  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** All that is to be brought, asked for or not; ascending. */
  get pieces(): Piece[] {
    const all = [...this.#waiting, ...[...this.#asked].flatMap(({ pieces }) => pieces)];
    return all.sort((a, b) => a.start - b.start);
  }

  /** Whether the page at an address is on its way. */
  isAsked(address: number): boolean {
    for (const { pieces } of this.#asked) if (pieceAt(pieces, address)) return true;
    return false;
  }

  /** The first page at or behind an address that nobody has asked for, or else the first of all. */
  next(address: number): number | undefined {
    const piece = this.#waiting[firstBehind(this.#waiting, address)] ?? this.#waiting[0];
    if (!piece) return undefined;
    return address > piece.start && address < endOf(piece) ? address : piece.start;
  }

  /** Takes the page at an address and what follows it, at most `most` bytes; undefined if it is not waiting. */
  ask(address: number, most: number): Asked | undefined {
    const piece = pieceAt(this.#waiting, address);
    if (!piece) return undefined;
    const asked = { pieces: cutOut(this.#waiting, address, Math.min(most, endOf(piece) - address)) };
    this.#asked.add(asked);
    return asked;
  }

  /**
   * Pages have come that were at `from` at the dump. Returns where they belong now. What else was asked for with them
   * is waiting again.
   */
  arrived(asked: Asked, from: number, length: number): Piece[] {
    this.#asked.delete(asked);
    const found: Piece[] = [];
    for (const piece of asked.pieces) {
      const first = Math.max(piece.from, from);
      const end = Math.min(piece.from + piece.length, from + length);
      if (first >= end) {
        this.putBack(piece);
        continue;
      }
      found.push(shifted(piece, first - piece.from, end - first));
      if (first > piece.from) this.putBack(shifted(piece, 0, first - piece.from));
      const rest = piece.from + piece.length - end;
      if (rest > 0) this.putBack(shifted(piece, piece.length - rest, rest));
    }
    return found;
  }

  /** These have to be asked for again. */
  putBack(piece: Piece): void {
    insert(this.#waiting, piece);
  }

  /** The program does not want a range any more: it has unmapped it, or given the content up. */
  drop(start: number, length: number): void {
    for (const list of this.#lists()) cutOut(list, start, length);
  }

  /** The program has moved a range. */
  remap(from: number, to: number, length: number): void {
    for (const list of this.#lists()) {
      const moved = cutOut(list, from, length);
      for (const piece of moved) insert(list, { ...piece, start: piece.start + to - from });
    }
  }

  /** What a child needs that the program has forked: also what is on its way, which does not come for the child. */
  copy(): Outstanding {
    return new Outstanding(this.pieces);
  }

  *#lists(): Generator<Piece[]> {
    yield this.#waiting;
    for (const { pieces } of this.#asked) yield pieces;
  }
}

/** A part of a piece. */
function shifted({ start, from }: Piece, skipped: number, length: number): Piece {
  return { start: start + skipped, length, from: from + skipped };
}

function pieceAt(pieces: readonly Piece[], address: number): Piece | undefined {
  const piece = pieces[firstBehind(pieces, address)];
  return piece && piece.start <= address ? piece : undefined;
}

/** Removes a range from a list and returns what of it was there. */
function cutOut(pieces: Piece[], start: number, length: number): Piece[] {
  const end = start + length;
  const first = firstBehind(pieces, start);
  const found: Piece[] = [];
  const left: Piece[] = [];
  let after = first;
  for (; after < pieces.length; after++) {
    const piece = pieces[after] as Piece; // after < length
    if (piece.start >= end) break;
    const from = Math.max(piece.start, start);
    const to = Math.min(endOf(piece), end);
    if (from > piece.start) left.push(shifted(piece, 0, from - piece.start));
    found.push(shifted(piece, from - piece.start, to - from));
    if (to < endOf(piece)) left.push(shifted(piece, to - piece.start, endOf(piece) - to));
  }
  if (after > first) pieces.splice(first, after - first, ...left);
  return found;
}

/** Adds a piece at its place, joined to the one before it or behind it where it continues that. */
function insert(pieces: Piece[], piece: Piece): void {
  let at = firstBehind(pieces, piece.start);
  let added = piece;
  const before = pieces[at - 1];
  if (before && endOf(before) === added.start && before.from + before.length === added.from) {
    at--;
    pieces.splice(at, 1);
    added = { ...before, length: before.length + added.length };
  }
  const behind = pieces[at];
  if (behind && endOf(added) === behind.start && added.from + added.length === behind.from) {
    pieces.splice(at, 1);
    added = { ...added, length: added.length + behind.length };
  }
  pieces.splice(at, 0, added);
}

/** The pages of ranges, where they were at the dump; no piece reaches across the end of a mapping. */
export function piecesOf(ranges: readonly PageRange[], ends: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  let next = 0;
  for (const range of ranges) {
    for (let at = range.start; at < endOf(range); ) {
      while (next < ends.length && (ends[next] as number) <= at) next++;
      const end = Math.min(endOf(range), ends[next] ?? endOf(range));
      pieces.push({ start: at, length: end - at, from: at });
      at = end;
    }
  }
  return pieces;
}

/** The start of the page that an address is in. */
export function pageOf(address: number): number {
  return address - (address % PAGE_SIZE);
}
