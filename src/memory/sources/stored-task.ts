/** What is stored already for another task of the same dump, as a source of pages that both share. */
import { firstIndex } from '../../base/search.ts';
import type { PageRange } from '../../contract/contract.ts';
import type { Block } from '../../images/manifest.ts';
import { O } from '../../kernel/constants/files.ts';
import { tryOpen } from '../../kernel/files.ts';
import { arenaAddress, arenaView, Fd, trySyscall } from '../../kernel/syscall.ts';
import type { Lot } from '../plan/lots.ts';

/** A task whose pages are stored. */
export class StoredTask {
  readonly #path: string;
  readonly #starts: Float64Array;
  /** The offset of each range in the file, then the size of the file. */
  readonly #offsets: Float64Array;

  /** `ranges` are what is stored in the file, ascending. */
  constructor(path: string, ranges: readonly PageRange[]) {
    this.#path = path;
    this.#starts = Float64Array.from(ranges, ({ start }) => start);
    this.#offsets = new Float64Array(ranges.length + 1);
    ranges.forEach(({ length }, i) => {
      this.#offsets[i + 1] = (this.#offsets[i] as number) + length;
    });
  }

  /** Opens its pages file for reading; undefined if that fails. The pages are then read from the task instead. */
  open(): Fd | undefined {
    const opened = tryOpen(this.#path, O.RDONLY);
    return opened < 0 ? undefined : new Fd(opened);
  }

  /**
   * Copies a lot from its pages file inside the kernel (copy_file_range(2)); file systems with reflinks share the
   * blocks. Returns where the content is in that file, or undefined if not everything could be copied this way; the
   * caller then reads the lot from the task.
   */
  copy(from: Fd, to: Fd, { pieces, offset }: Lot): readonly Block[] | undefined {
    const file = this.#path.slice(this.#path.lastIndexOf('/') + 1);
    const blocks: (readonly [number, string, number])[] = [];
    let at = offset;
    for (const { start, length } of pieces) {
      for (let done = 0; done < length; ) {
        const there = this.#find(start + done);
        if (!there) return undefined;
        const got = copyRange(from, there.offset, to, at + done, Math.min(there.length, length - done));
        if (got <= 0) return undefined;
        addCopied(blocks, got, file, there.offset);
        done += got;
      }
      at += length;
    }
    return blocks;
  }

  /**
   * The offset of a page in the file, and how many bytes from there on are contiguous both in the file and in memory.
   */
  #find(address: number): { offset: number; length: number } | undefined {
    // The index is below the length.
    const behind = firstIndex(this.#starts.length, (index) => (this.#starts[index] as number) <= address);
    const [start, offset, next] = [this.#starts[behind - 1], this.#offsets[behind - 1], this.#offsets[behind]];
    if (start === undefined || offset === undefined || next === undefined) return undefined;
    const length = next - offset - (address - start);
    return length > 0 ? { offset: offset + address - start, length } : undefined;
  }
}

/** Adds what was copied, to the last block if it continues that. */
function addCopied(blocks: (readonly [number, string, number])[], length: number, file: string, offset: number): void {
  const last = blocks.at(-1);
  if (last && last[2] + last[0] === offset) blocks[blocks.length - 1] = [last[0] + length, file, last[2]];
  else blocks.push([length, file, offset]);
}

/** copy_file_range(2). Returns the number of bytes, or -errno. */
function copyRange(from: Fd, offset: number, to: Fd, at: number, length: number): number {
  arenaView.setBigInt64(0, BigInt(offset), true);
  arenaView.setBigInt64(8, BigInt(at), true);
  return trySyscall('copy_file_range', from.number, arenaAddress, to.number, arenaAddress + 8, length, 0);
}
