/** Frees what no snapshot of a store has. */
import { requireUninterrupted } from '../tracee/interruption.ts';
import { Contents } from './contents.ts';
import { markNeeded } from './needed.ts';
import { PackWriter, packsIn, removePacks, sizeOf } from './packs.ts';
import type { Snapshot } from './snapshots.ts';

/** What was freed, and what is left. Sizes are bytes of contents. */
export interface Collected {
  readonly freed: number;
  readonly kept: number;
}

/** A pack is written anew if less than this part of it is needed. */
const WORTH_KEEPING = 0.75;
/** Packs of fewer bytes are put together. */
const SMALL = 4 << 20;

/**
 * Removes packs of which nothing is needed, and writes anew what is needed of those that hold little else. If it is
 * killed, contents are there twice, and the next collection removes them.
 * @throws ImageError if a snapshot or what has to be written anew is damaged; nothing is removed then
 */
export function collect(dir: string, snapshots: readonly Snapshot[]): Collected {
  using contents = new Contents(dir);
  const isNeeded = markNeeded(contents, snapshots);
  const needed = new Map<number, number>();
  for (let number = 0; number < contents.size; number++) {
    const { pack, length } = contents.placeOf(number);
    if (isNeeded[number]) needed.set(pack, (needed.get(pack) ?? 0) + length);
  }
  const numbers = packsIn(dir);
  const packs = numbers.map((number) => ({ number, size: sizeOf(dir, number), needed: needed.get(number) ?? 0 }));
  const small = packs.filter((pack) => pack.needed > 0 && pack.needed < SMALL);
  const thin = packs.filter((pack) => pack.needed > 0 && pack.needed < WORTH_KEEPING * pack.size);
  const moved = new Set([...thin, ...(small.length > 1 ? small : [])].map(({ number }) => number));
  using writer = new PackWriter(dir, (numbers.at(-1) ?? 0) + 1);
  for (let number = 0; number < contents.size; number++) {
    if (number % 1024 === 0) requireUninterrupted();
    if (!isNeeded[number] || !moved.has(contents.placeOf(number).pack)) continue;
    const { digest, content } = contents.contentOf(number);
    writer.add(digest, content);
  }
  writer.finish();
  const gone = packs.filter((pack) => pack.needed === 0 || moved.has(pack.number));
  removePacks(
    dir,
    gone.map(({ number }) => number),
  );
  const bytes = (of: readonly { size: number }[]): number => of.reduce((sum, { size }) => sum + size, 0);
  return { freed: bytes(gone) - writer.size, kept: bytes(packs) - bytes(gone) + writer.size };
}
