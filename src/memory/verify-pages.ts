/** `--verify`: whether page contents are what the dump wrote, before any process is made. */
import { Part } from '../base/part.ts';
import { ImageError } from '../images/error.ts';
import type { ImageSet } from '../images/image-set.ts';
import { type Block, MAX_BLOCK } from '../images/manifest.ts';
import { idOfCompressedPages } from '../images/own-files.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { freedRanges, isFreed } from '../support/freed-pages.ts';
import { chainOf } from '../support/page-store.ts';
import { PagesFiles } from '../support/pages-files.ts';
import { PageSums } from './page-sums.ts';

const COMPRESSED = new Part(
  () => require('../support/compressed-pages.ts') as typeof import('../support/compressed-pages.ts'),
);

/**
 * Compares all page contents of a set, and of the sets of earlier dumps that it needs, with the checksums in their
 * manifests. Answers why that cannot be, in words that end "…, so page contents are not verified"; undefined if it was
 * done.
 * @throws ImageError naming the file and the place that differs
 */
export function verifyPages(images: ImageSet): string | undefined {
  for (const set of chainOf(images)) {
    const why = verifySet(set, set === images ? 'the images' : `the images in ${set.dir}`);
    if (why !== undefined) return why;
  }
  return undefined;
}

function verifySet(images: ImageSet, name: string): string | undefined {
  const files = images.pageBlocks();
  const packed = images.disk.namesIn(images.dir).flatMap((file) => idOfCompressedPages(file) ?? []);
  for (const id of packed) {
    const found = COMPRESSED.load().findCompressed(images, Number(id));
    using file = found && new (COMPRESSED.load().CompressedFile)(found.file);
    file?.verify();
  }
  if (files.size === 0 && packed.length > 0) return undefined;
  if (files.size === 0) return `${name} tell of no checksums, as those of criu`;
  using reader = new PagesFiles();
  const freed = freedRanges(images);
  const sums = new PageSums();
  const buffer = new PinnedBuffer(new Uint8Array(MAX_BLOCK));
  /** The sums of some of a file; as a file may be read twice, in pieces of any length. */
  const read = (name: string, offset: number, length: number): string | undefined => {
    const place = images.place(name);
    reader.read(place.path, place.offset + offset, length, buffer.address);
    return sums.of(buffer.address, length);
  };
  try {
    for (const [name, blocks] of files) {
      let offset = 0;
      for (const block of blocks) {
        const original = block[2];
        // Of a block with holes nothing can be said, nor of the copy of one.
        const isWhole =
          !isFreed(freed.get(name), offset, block[0]) &&
          (original === undefined || !isFreed(freed.get(block[1]), original, block[0]));
        for (const [at, expected, length] of isWhole ? expectations(block, read) : []) {
          const found = read(name, offset + at, length);
          if (found === undefined) return 'this processor has no instruction for checksums (SSE4.2)';
          if (found !== expected) throw changed(name, offset + at, length);
        }
        offset += block[0];
      }
    }
  } finally {
    buffer[Symbol.dispose]();
    sums[Symbol.dispose]();
  }
  return undefined;
}

/** What the parts of a block, by their place in it, are to be like. What was copied is to be like its original. */
function* expectations(
  block: Block,
  read: (name: string, offset: number, length: number) => string | undefined,
): Generator<[at: number, sums: string | undefined, length: number]> {
  if (block[2] === undefined) {
    yield [0, block[1], block[0]];
    return;
  }
  const [length, original, from] = block;
  for (let at = 0; at < length; at += MAX_BLOCK) {
    const part = Math.min(MAX_BLOCK, length - at);
    yield [at, read(original, from + at, part), part];
  }
}

function changed(file: string, offset: number, length: number): ImageError {
  return new ImageError({
    file,
    reason: `its content is not what the dump wrote, between byte ${offset} and byte ${offset + length}`,
  });
}
