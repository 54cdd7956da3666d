/** Where page contents come from. */
import type { LocalFd } from '../../base/brands.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import type { Helper } from '../../tracee/helper-process.ts';
import type { Program } from '../../tracee/program.ts';
import type { Lot } from '../plan/lots.ts';

/** The contents of the pages of a task or a segment. */
export interface PageSource {
  /** Reads the pieces of a lot into the beginning of the buffer. @throws StasisError if something cannot be read */
  read(lot: Lot, buffer: PinnedBuffer): void;
  /** How a helper process reads; undefined if only Stasis can. */
  readonly remotely?: RemoteReads;
}

/** Reads by a helper process into its buffer. */
export interface RemoteReads {
  /** Our descriptor that the helper needs. */
  readonly descriptor: LocalFd;
  /** Whether Stasis reads a lot better itself. */
  isOurs(lot: Lot): boolean;
  /** How many calls {@link add} makes and how many bytes of the program's heap it takes. */
  need(lot: Lot): readonly [calls: number, bytes: number];
  /** Adds the calls that read a lot; `descriptor` is the helper's number for {@link RemoteReads.descriptor}. */
  add(program: Program, lot: Lot, helper: Helper, descriptor: number): WasRead;
}

/** Tells from the results of a program whether everything was read. */
export type WasRead = (results: Program) => boolean;
