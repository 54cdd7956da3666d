/** Page contents, from the image into the task: by the task's own preadv(), so that they are copied once. */
import { StasisError } from '../../base/errors.ts';
import { ImageError } from '../../images/error.ts';
import { Images } from '../../images/kinds.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { addressOf } from '../../kernel/ffi.ts';
import { arenaPath, describeErrno, Fd, SyscallError, syscall, trySyscall } from '../../kernel/syscall.ts';
import { type RemoteWork, shareOut, WORTH_TWO_HANDS } from '../../tracee/hands.ts';
import type { Program } from '../../tracee/program.ts';
import type { PageRange, RestoreTask } from '../contract.ts';
import { subtract } from './scan.ts';

const PAGE = 4096;
/** Vectors a call: few enough for a program's heap. UIO_MAXIOV is 1024. */
const VECTORS = 512;
/** The kernel moves at most this much in one call (MAX_RW_COUNT). */
const MAX_BYTES = 0x7fff_f000;
/** What goes through our own hands at once; it stays in the processor's cache. */
const BUFFER = 256 << 10;

/** The stored pages of a task. */
export interface StoredPages {
  readonly file: Fd;
  readonly name: string;
  readonly runs: readonly PageRun[];
}

/** Opens the pages of a task. @throws ImageError when they are missing or too short for their pagemap */
export function openPages(task: RestoreTask): StoredPages {
  const map = task.context.images.readPagemap(Images.pagemap, task.pid);
  if (!map) throw new ImageError({ file: `pagemap-${task.pid}.img`, reason: 'image is missing' });
  const name = `pages-${map.pagesId}.img`;
  const path = `${task.context.images.dir}/${name}`;
  const opened = trySyscall('openat', -100, arenaPath(path), 0x80000);
  if (opened < 0) throw new ImageError({ file: name, reason: describeErrno(opened) });
  const file = new Fd(opened);
  task.context.atEnd(() => file[Symbol.dispose]());
  for (const run of map.runs) {
    if (run.flags & PageFlags.PARENT) {
      throw new StasisError({
        kind: 'unsupported',
        resource: `pagemap-${task.pid}.img`,
        reason: 'incremental image sets (pages in a parent) are not restored yet',
        remedy: 'dump again without --prev-images-dir',
      });
    }
  }
  const pages = map.runs.reduce((sum, run) => sum + run.pages, 0);
  const size = syscall('lseek', file.number, 0, 2);
  if (size < pages * PAGE) {
    throw new ImageError({ file: name, reason: `${size} bytes, but its pagemap tells of ${pages * PAGE}` });
  }
  return { file, name, runs: map.runs };
}

/** Reads some of the stored pages here. */
export function readStored(stored: StoredPages, start: number, length: number): Uint8Array | undefined {
  let offset = 0;
  for (const run of stored.runs) {
    if (start >= run.start && start + length <= run.start + run.pages * PAGE) {
      const bytes = new Uint8Array(length);
      const got = trySyscall('pread64', stored.file.number, addressOf(bytes), length, offset + start - run.start);
      return got === length ? bytes : undefined;
    }
    offset += run.pages * PAGE;
  }
  return undefined;
}

/** A piece of memory and where its contents stand in the pages file. */
interface Piece extends PageRange {
  readonly offset: number;
}

/** Has the task read its pages; of many, we bring it some. `skipped` ranges are there already (the vdso). */
export function fill(task: RestoreTask, stored: StoredPages, fd: number, skipped: readonly PageRange[]): void {
  const bytes = stored.runs.reduce((sum, run) => sum + run.pages * PAGE, 0);
  const byTask: RemoteWork<Lot> = (program, lot) => readIn(program, lot, fd, stored.name);
  if (bytes < WORTH_TWO_HANDS) {
    for (const lot of lots(pieces(stored.runs, skipped, MAX_BYTES), MAX_BYTES)) {
      const check = byTask(task.batch.reserve(1, 16 * lot.pieces.length + 16), lot);
      if (check) task.batch.after(check);
    }
    return;
  }
  task.batch.flush(); // there must be something to be filled
  const buffer = new Uint8Array(BUFFER);
  shareOut(lots(pieces(stored.runs, skipped, BUFFER), BUFFER), task.seed.remote, byTask, (lot) =>
    bring(task, lot, stored, buffer),
  );
}

/** Has the task read a lot. */
function readIn(program: Program, lot: Lot, fd: number, name: string): ReturnType<RemoteWork<Lot>> {
  const { pieces, length, offset } = lot;
  if (!program.fits(1, 16 * pieces.length + 16)) return undefined;
  const read = program.call('preadv', fd, program.data(vectorsOf(pieces)), pieces.length, offset, 0);
  return (results) => requireAll(results.result(read), length, name);
}

/** Reads a lot here and writes it into the task. */
function bring(task: RestoreTask, { pieces, length, offset }: Lot, stored: StoredPages, buffer: Uint8Array): void {
  requireAll(trySyscall('pread64', stored.file.number, addressOf(buffer), length, offset), length, stored.name);
  const local = addressOf(vectorsOf([{ start: addressOf(buffer), length, offset }]));
  const remote = addressOf(vectorsOf(pieces));
  const got = trySyscall('process_vm_writev', task.pid, local, 1, remote, pieces.length, 0);
  if (got < 0) throw new SyscallError('process_vm_writev', -got, { task: task.ref });
  requireAll(got, length, stored.name);
}

function vectorsOf(pieces: readonly Piece[]): Uint8Array {
  const vectors = new BigUint64Array(2 * pieces.length);
  let at = 0;
  for (const { start, length } of pieces) {
    vectors[at++] = BigInt(start);
    vectors[at++] = BigInt(length);
  }
  return new Uint8Array(vectors.buffer);
}

function requireAll(got: number, wanted: number, name: string): void {
  if (got !== wanted) throw new ImageError({ file: name, reason: `only ${got} of ${wanted} bytes could be read` });
}

/** Pieces that follow each other in the file. */
interface Lot {
  readonly pieces: readonly Piece[];
  readonly length: number;
  readonly offset: number;
}

/** Runs as pieces with their offsets, without what is to be skipped, none longer than `most`. */
function pieces(runs: readonly PageRun[], skipped: readonly PageRange[], most: number): Piece[] {
  const found: Piece[] = [];
  let offset = 0;
  for (const run of runs) {
    const whole = { start: run.start, length: run.pages * PAGE };
    let kept: PageRange[] = [whole];
    for (const hole of skipped) kept = kept.flatMap((range) => subtract(range, hole));
    for (const { start, length } of kept) {
      for (let done = 0; done < length; done += most) {
        const at = offset + start - run.start + done;
        found.push({ start: start + done, length: Math.min(most, length - done), offset: at });
      }
    }
    offset += whole.length;
  }
  return found;
}

/** Pieces gathered into lots of `most` bytes at most, as many as one preadv() takes. */
function lots(all: readonly Piece[], most: number): Lot[] {
  const full: Lot[] = [];
  let gathered: Piece[] = [];
  let length = 0;
  let offset = 0;
  for (const piece of all) {
    const apart = piece.offset !== offset + length;
    if (gathered.length > 0 && (apart || gathered.length === VECTORS || length + piece.length > most)) {
      full.push({ pieces: gathered, length, offset });
      gathered = [];
    }
    if (gathered.length === 0) {
      length = 0;
      offset = piece.offset;
    }
    gathered.push(piece);
    length += piece.length;
  }
  if (gathered.length > 0) full.push({ pieces: gathered, length, offset });
  return full;
}
