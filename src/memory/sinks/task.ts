/**
 * Reads page contents from the image into the task. The task calls preadv(2) itself, so that they are copied only once.
 */

import type { PageRange, RestoreTask } from '../../contract/contract.ts';
import { ImageError } from '../../images/error.ts';
import { MAX_RW_COUNT } from '../../kernel/constants/memory.ts';
import { Pins } from '../../kernel/ffi.ts';
import { SyscallError, trySyscall } from '../../kernel/syscall.ts';
import { isCompressed, nameOf, type PagesFiles } from '../../support/pages-files.ts';
import { type RemoteWork, shareOut, WORTH_A_HELPER } from '../../tracee/helper-process.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import type { Program } from '../../tracee/program.ts';
import { totalOf } from '../plan/ranges.ts';
import type { StoredPiece } from '../sources/images.ts';

/** Vectors for one call; few enough for the heap of a program. UIO_MAXIOV is 1024. */
const VECTORS = 512;
/** Size in bytes of the buffer for pages that Stasis copies itself; it stays in the processor's cache. */
const BUFFER = 256 << 10;

/** A task that memory is filled into. */
export type Filled = Pick<RestoreTask, 'batch' | 'seed' | 'tracee' | 'ref'> & {
  readonly context: Pick<RestoreTask['context'], 'filled'>;
};

/**
 * Has the task read its pages. If there are many, Stasis writes some of them at the same time. `descriptors` are the
 * task's numbers for the pages files, by their paths.
 */
export function fill(
  task: Filled,
  written: readonly StoredPiece[],
  files: PagesFiles,
  descriptors: ReadonlyMap<string, number>,
): void {
  const packed = written.filter(({ file }) => isCompressed(file));
  if (packed.length > 0) bringAll(task, packed, files);
  if (packed.length < written.length) fillPlain(task, without(written, packed), files, descriptors);
}

/** Brings pages that only Stasis can read. */
function bringAll(task: Filled, pieces: readonly StoredPiece[], files: PagesFiles): void {
  task.batch.flush(); // the mappings have to be made first
  const buffer = new Uint8Array(BUFFER);
  for (const lot of lots(pieces, BUFFER)) bring(task, lot, files, buffer);
}

function without(all: readonly StoredPiece[], some: readonly StoredPiece[]): readonly StoredPiece[] {
  return some.length === 0 ? all : all.filter(({ file }) => !isCompressed(file));
}

function fillPlain(
  task: Filled,
  written: readonly StoredPiece[],
  files: PagesFiles,
  descriptors: ReadonlyMap<string, number>,
): void {
  const { filled } = task.context;
  const byTask: RemoteWork<Lot> = (program, lot) => readIn(program, lot, descriptors.get(lot.file) ?? -1, filled);
  if (totalOf(written) < WORTH_A_HELPER) {
    for (const lot of lots(written, MAX_RW_COUNT)) {
      const check = byTask(task.batch.reserve(1, 16 * lot.pieces.length + 16), lot);
      if (check) task.batch.after(check);
    }
    return;
  }
  task.batch.flush(); // the mappings have to be made first
  const buffer = new Uint8Array(BUFFER);
  shareOut(lots(written, BUFFER), task.seed.remote, byTask, (lot) => bring(task, lot, files, buffer));
}

/** Adds the calls with which the task reads a lot; `filled` is told when it has. */
function readIn(
  program: Program,
  lot: Lot,
  fd: number,
  filled: ((bytes: number) => void) | undefined,
): ReturnType<RemoteWork<Lot>> {
  const { pieces, length, offset, file } = lot;
  if (!program.fits(1, 16 * pieces.length + 16)) return undefined;
  const read = program.call('preadv', fd, program.data(vectorsOf(pieces)), pieces.length, offset, 0);
  return (results) => {
    requireAll(results.result(read), length, file);
    filled?.(length);
  };
}

/** Reads a lot here and writes it into the task. */
function bring(task: Filled, { pieces, length, offset, file }: Lot, files: PagesFiles, buffer: Uint8Array): void {
  requireUninterrupted();
  using pins = new Pins();
  if (isCompressed(file)) files.read(file, offset, length, pins.address(buffer));
  else requireAll(trySyscall('pread64', files.descriptor(file), buffer, length, offset), length, file);
  const local = vectorsOf([{ start: pins.address(buffer), length }]);
  const remote = vectorsOf(pieces);
  const got = trySyscall('process_vm_writev', task.tracee.pid, local, 1, remote, pieces.length, 0);
  if (got < 0) throw new SyscallError('process_vm_writev', -got, { task: task.ref });
  requireAll(got, length, file);
  task.context.filled?.(length);
}

function vectorsOf(pieces: readonly PageRange[]): Uint8Array {
  const vectors = new BigUint64Array(2 * pieces.length);
  let at = 0;
  for (const { start, length } of pieces) {
    vectors[at++] = BigInt(start);
    vectors[at++] = BigInt(length);
  }
  return new Uint8Array(vectors.buffer);
}

function requireAll(got: number, wanted: number, file: string): void {
  if (got === wanted) return;
  throw new ImageError({ file: nameOf(file), reason: `only ${got} of ${wanted} bytes could be read` });
}

/** A lot: pieces that follow each other in a file. */
interface Lot {
  readonly pieces: readonly PageRange[];
  readonly length: number;
  readonly file: string;
  readonly offset: number;
}

/** Collects pieces into lots of at most `most` bytes, and of at most as many pieces as one preadv() takes. */
function lots(all: readonly StoredPiece[], most: number): Lot[] {
  const full: Lot[] = [];
  let gathered: StoredPiece[] = [];
  let length = 0;
  const close = (): void => {
    const [first] = gathered;
    if (first) full.push({ pieces: gathered, length, file: first.file, offset: first.offset });
    gathered = [];
    length = 0;
  };
  for (const piece of cutTo(all, most)) {
    const [first] = gathered;
    const apart = first && (piece.file !== first.file || piece.offset !== first.offset + length);
    if (apart || gathered.length === VECTORS || length + piece.length > most) close();
    gathered.push(piece);
    length += piece.length;
  }
  close();
  return full;
}

/** Cuts pieces so that none is longer than `most`. */
function* cutTo(all: readonly StoredPiece[], most: number): Generator<StoredPiece> {
  for (const piece of all) {
    const { start, length, file, offset } = piece;
    if (length <= most) yield piece;
    else {
      for (let done = 0; done < length; done += most) {
        yield { start: start + done, length: Math.min(most, length - done), file, offset: offset + done };
      }
    }
  }
}
