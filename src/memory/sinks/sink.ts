/** Where page contents go. */
import type { LocalFd } from '../../base/brands.ts';
import type { PageRange } from '../../contract/contract.ts';
import type { ImageSetWriter } from '../../images/image-set-writer.ts';
import type { Images } from '../../images/kinds.ts';
import type { Block } from '../../images/manifest.ts';
import type { PageRun } from '../../images/pagemap.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import type { Lot } from '../plan/lots.ts';

/** What pages are of: the kind of pagemap and the ID in it. */
export interface PagesOf {
  readonly kind: typeof Images.pagemap | typeof Images.shmemPagemap;
  readonly id: number | bigint;
}

/** Takes the pages of one task or segment. */
export interface PageSink extends Disposable {
  /** Called once, before anything is put: how many bytes that will be. */
  begin?(bytes: number): void;
  /** Takes a lot, whose content is in the beginning of the buffer. @throws StasisError */
  put(lot: Lot, buffer: PinnedBuffer): void;
  /**
   * A file that takes lots in any order, each at its offset, from whoever has its descriptor; undefined if they have to
   * come in order through {@link put}.
   */
  readonly file?: SinkFile | undefined;
  /** Completes the pages with their pagemap: its runs, of which those that are present are what was put. */
  finish(runs: readonly PageRun[]): void;
}

/** A file that takes lots in any order. */
export interface SinkFile {
  readonly fd: LocalFd;
  /** Where in the file the pages begin. */
  readonly base: number;
  /** Notes the checksums of a lot that somebody has written to the file. */
  note(lot: Lot, blocks: readonly Block[]): void;
}

/** A sink whose pages are stored by somebody else. */
export interface SinkElsewhere extends PageSink {
  /** Whether the previous dump's pages of this task or segment are there; if not, all have to be put. */
  readonly hasParent: boolean;
}

/** Somebody else who stores all pages of a dump. */
export interface PagesElsewhere {
  /**
   * Begins with a task or segment. `inherited` are the pages that the previous dump has stored, `lazy` those that a
   * restore may leave until they are needed, both ascending; `images` gets what is to be known of the pages here.
   * @throws StasisError
   */
  open(images: ImageSetWriter, of: PagesOf, inherited: readonly PageRange[], lazy: readonly PageRange[]): SinkElsewhere;
  /** Returns when all is stored. @throws StasisError if it is not */
  finish(): void;
}
