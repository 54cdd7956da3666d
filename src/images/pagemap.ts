/**
 * Which pages were stored, and where. A pagemap image lists runs of pages in ascending order. The contents of runs
 * marked present stand, in the same order, in the pages file that the head of the pagemap names. Contents of runs
 * marked as the parent's are in the image set of the previous dump.
 *
 * Large processes have hundreds of thousands of runs, so they are read and written here directly, and addresses
 * are numbers: page-aligned, they are exact up to the end of any address space.
 */

import { type DecodeOptions, readMessage, writeMessage } from './codec.ts';
import { ImageError } from './error.ts';
import { Images } from './kinds.ts';
import { COMMON_MAGIC } from './magic.ts';
import { readFramed, writeFramed } from './payload.ts';
import { pagemapEntry, pagemapHead } from './schema/memory.ts';
import { IMAGE_PAGE_SIZE, Reader, Writer } from './wire.ts';

/** `pagemap_entry.flags`. */
export const PageFlags = {
  /** The content is in the parent image set. */
  PARENT: 1,
  /** The content stayed behind in the dumped process, or is to be loaded on demand. */
  LAZY: 2,
  /** The content is in the pages file. */
  PRESENT: 4,
} as const;

/** A run of pages that are stored alike. */
export interface PageRun {
  /** Address of the first page, in bytes; for shared memory the offset in the segment. */
  readonly start: number;
  /** How many pages. */
  readonly pages: number;
  /** {@link PageFlags}. */
  readonly flags: number;
}

/** A pagemap image: the pages file it belongs to (`pages-<pagesId>.img`), and its runs. */
export interface PageMap {
  readonly pagesId: number;
  readonly runs: readonly PageRun[];
}

/** Decodes a pagemap; throws ImageError if runs are out of order, overlap or are not aligned to pages. */
export function readPagemap(file: string, bytes: Uint8Array, options?: Omit<DecodeOptions, 'file'>): PageMap {
  const reader = new Reader(bytes, file, options?.onUnknown);
  if (reader.fixed32() !== COMMON_MAGIC || reader.fixed32() !== Images.pagemap.magic) {
    throw new ImageError({ file, offset: 0, reason: 'not a pagemap' });
  }
  const { pages_id: pagesId } = readFramed(reader, () => readMessage(reader, pagemapHead));
  const runs: PageRun[] = [];
  let free = 0;
  while (reader.pos < reader.end) {
    const at = reader.pos;
    const run = readRun(reader);
    reader.message = 'pagemap_entry';
    reader.field = undefined;
    if (run.start % IMAGE_PAGE_SIZE !== 0)
      throw reader.error(`address 0x${run.start.toString(16)} is not aligned to pages`, at);
    if (run.start < free) throw reader.error(`run at 0x${run.start.toString(16)} overlaps the one before`, at);
    free = run.start + run.pages * IMAGE_PAGE_SIZE;
    if (free > 2 ** 64) throw reader.error(`${run.pages} pages do not fit into an address space`, at);
    runs.push(run);
  }
  return { pagesId, runs };
}

// The tags of the shape CRIU 4.2 writes: vaddr, an empty compat_nr_pages, flags, nr_pages.
const VADDR = 0x08;
const COMPAT_NR_PAGES = 0x10;
const FLAGS = 0x20;
const NR_PAGES = 0x28;

/** Reads one run. The shape CRIU 4.2 writes is decoded directly, any other through the schema. */
function readRun(reader: Reader): PageRun {
  const start = reader.pos;
  const usual = usualRun(reader);
  if (usual) return usual;
  reader.pos = start;
  return readFramed(reader, () => {
    const entry = readMessage(reader, pagemapEntry);
    // Images of older versions have neither flags nor a 64-bit count.
    const flags = (entry.flags ?? PageFlags.PRESENT) | (entry.in_parent ? PageFlags.PARENT : 0);
    return {
      start: Number(entry.vaddr),
      pages: Number(entry.nr_pages ?? entry.compat_nr_pages),
      flags: entry.in_parent && entry.flags === undefined ? PageFlags.PARENT : flags,
    };
  });
}

function usualRun(reader: Reader): PageRun | undefined {
  const { bytes, pos } = reader;
  const length = reader.fixed32();
  const end = pos + 4 + length;
  if (end > reader.end || bytes[pos + 4] !== VADDR) return undefined;
  reader.pos = pos + 5;
  const start = reader.alignedUint64();
  if (bytes[reader.pos] !== COMPAT_NR_PAGES || bytes[reader.pos + 1] !== 0) return undefined;
  if (bytes[reader.pos + 2] !== FLAGS || bytes[reader.pos + 4] !== NR_PAGES) return undefined;
  const flags = bytes[reader.pos + 3] as number;
  reader.pos += 5;
  const pages = reader.safeUint64();
  return flags < 0x80 && reader.pos === end ? { start, pages, flags } : undefined;
}

/** Encodes a pagemap, byte for byte as CRIU 4.2 does. */
export function writePagemap({ pagesId, runs }: PageMap, file = 'pagemap'): Uint8Array {
  const writer = new Writer(file, 32 + runs.length * 20);
  for (let i = runs.length - 1; i >= 0; i--) {
    const { start, pages, flags } = runs[i] as PageRun;
    const before = writer.length;
    writer.varint(pages);
    writer.varint(NR_PAGES);
    writer.varint(flags);
    writer.varint(FLAGS);
    writer.varint(0);
    writer.varint(COMPAT_NR_PAGES);
    writer.varint(start);
    writer.varint(VADDR);
    writer.fixed32(writer.length - before);
  }
  writeFramed(writer, () => writeMessage(writer, pagemapHead, { pages_id: pagesId }));
  writer.fixed32(Images.pagemap.magic);
  writer.fixed32(COMMON_MAGIC);
  return writer.finish();
}
