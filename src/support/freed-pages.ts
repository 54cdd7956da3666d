/**
 * What deduplication has freed of a set of images: page contents that images of a later dump have in their place, or
 * that were restored. The files keep their size and the kernel gives zeros for the holes, so a list beside them says
 * what is not there any more, lest somebody restores zeros.
 */
import { firstIndex } from '../base/search.ts';
import { cstring, encodeText } from '../base/text.ts';
import { ImageError } from '../images/error.ts';
import { dictionary, list, object, optional, readJson, text, tuple, whole } from '../images/form.ts';
import { readImage } from '../images/image.ts';
import { writeWhole } from '../images/image-files.ts';
import type { ImageSet } from '../images/image-set.ts';
import { Images } from '../images/kinds.ts';
import { FREED } from '../images/own-files.ts';
import { AT } from '../kernel/constants/files.ts';
import { arenaPath, syscall } from '../kernel/syscall.ts';
import type { StoredPiece } from './page-store.ts';

/** A range of a file: offset and length in bytes. */
export type FileRange = readonly [offset: number, length: number];

const form = object({
  version: whole,
  /** `dump_criu_run_id` of the set; absent while there is no inventory, as at a page server. */
  run: optional(text),
  files: dictionary(list(tuple(whole, whole))),
});

const VERSION = 1;
const known = new WeakMap<ImageSet, ReadonlyMap<string, readonly FileRange[]>>();

/** The ranges that are freed, by the name of the pages file, ascending. @throws ImageError for a damaged list */
export function freedRanges(set: ImageSet): ReadonlyMap<string, readonly FileRange[]> {
  const found = known.get(set) ?? readFreed(set);
  known.set(set, found);
  return found;
}

function readFreed(set: ImageSet): ReadonlyMap<string, readonly FileRange[]> {
  const bytes = set.plain(FREED);
  if (!bytes) return new Map();
  const { version, run, files } = readJson(form, bytes, FREED);
  // Another dump has written into this directory since, which has freed nothing.
  const isStale = run !== undefined && run !== runOf(set);
  return isStale || version !== VERSION ? new Map() : new Map(Object.entries(files));
}

/** The run ID in an inventory; undefined if there is none. */
function runOf(set: ImageSet): string | undefined {
  const bytes = set.plain('inventory.img');
  return bytes && readImage(Images.inventory, 'inventory.img', bytes, set)[0]?.dump_criu_run_id;
}

/** Whether some of a part of a file is freed. */
export function isFreed(ranges: readonly FileRange[] | undefined, offset: number, length: number): boolean {
  if (!ranges) return false;
  const next = ranges[firstIndex(ranges.length, (i) => endOf(ranges[i]) <= offset)];
  return next !== undefined && next[0] < offset + length;
}

const endOf = (range: FileRange | undefined): number => (range ? range[0] + range[1] : 0);

/** Makes sure that nothing of what is needed is freed in the sets of a chain. @throws ImageError */
export function requireKept(chain: readonly ImageSet[], pieces: readonly StoredPiece[], file: string): void {
  const freed = new Map<string, readonly FileRange[]>();
  for (const set of chain) for (const [name, ranges] of freedRanges(set)) freed.set(`${set.dir}/${name}`, ranges);
  for (const { start, length, file: path, offset } of pieces) {
    if (!isFreed(freed.get(path), offset, length)) continue;
    throw new ImageError({
      file,
      reason: `the page at 0x${start.toString(16)}, or one behind it, was freed (--auto-dedup, dedup)`,
      remedy: 'restore from the last images of the chain; if they were restored with --auto-dedup, nothing is left',
    });
  }
}

/** Notes further ranges as freed, before they are. @throws StasisError */
export function noteFreed(set: ImageSet, more: ReadonlyMap<string, readonly FileRange[]>): void {
  const files = new Map(freedRanges(set));
  for (const [name, ranges] of more) files.set(name, merged([...(files.get(name) ?? []), ...ranges]));
  const content = { version: VERSION, run: runOf(set), files: Object.fromEntries(files) };
  const path = `${set.dir}/${FREED}`;
  writeWhole(`${path}.new`, encodeText(`${JSON.stringify(content)}\n`), set.disk);
  syscall('renameat', AT.FDCWD, arenaPath(`${path}.new`), AT.FDCWD, cstring(path));
  known.set(set, files);
}

/** Ranges in order, those that touch as one. */
function merged(ranges: readonly FileRange[]): FileRange[] {
  const all: FileRange[] = [];
  for (const [offset, length] of [...ranges].sort(([a], [b]) => a - b)) {
    const last = all.at(-1);
    if (last && offset <= endOf(last))
      all[all.length - 1] = [last[0], Math.max(endOf(last), offset + length) - last[0]];
    else all.push([offset, length]);
  }
  return all;
}
