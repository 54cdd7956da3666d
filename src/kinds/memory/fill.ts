/** Page contents, from the image into the task: by the task's own preadv(), so that they are copied once. */
import { StasisError } from '../../base/errors.ts';
import { ImageError } from '../../images/error.ts';
import { Images } from '../../images/kinds.ts';
import { PageFlags, type PageRun } from '../../images/pagemap.ts';
import { addressOf } from '../../kernel/ffi.ts';
import { arenaPath, describeErrno, Fd, syscall, trySyscall } from '../../kernel/syscall.ts';
import type { PageRange, RestoreTask } from '../contract.ts';
import { subtract } from './scan.ts';

const PAGE = 4096;
/** Vectors a call: few enough for a program's heap. UIO_MAXIOV is 1024. */
const VECTORS = 512;
/** The kernel moves at most this much in one call (MAX_RW_COUNT). */
const MAX_BYTES = 0x7fff_f000;

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

/** Has the task read its pages. `skipped` ranges are there already (the vdso). */
export function fill(task: RestoreTask, stored: StoredPages, fd: number, skipped: readonly PageRange[]): void {
  for (const lot of lots(pieces(stored.runs, skipped))) {
    const program = task.batch.reserve(1, 16 * lot.length + 16);
    const vectors = new BigUint64Array(2 * lot.length);
    let total = 0;
    lot.forEach((piece, i) => {
      vectors[2 * i] = BigInt(piece.start);
      vectors[2 * i + 1] = BigInt(piece.length);
      total += piece.length;
    });
    const at = program.data(new Uint8Array(vectors.buffer));
    const read = program.call('preadv', fd, at, lot.length, lot[0]?.offset ?? 0, 0);
    task.batch.after((results) => {
      const got = results.result(read);
      if (got !== total)
        throw new ImageError({ file: stored.name, reason: `only ${got} of ${total} bytes could be read` });
    });
  }
}

/** Runs as pieces with their offsets, without what is to be skipped, none too long for one call. */
function* pieces(runs: readonly PageRun[], skipped: readonly PageRange[]): Generator<Piece> {
  let offset = 0;
  for (const run of runs) {
    const whole = { start: run.start, length: run.pages * PAGE };
    const kept = skipped.reduce<PageRange[]>((left, hole) => left.flatMap((range) => subtract(range, hole)), [whole]);
    for (const { start, length } of kept) {
      for (let done = 0; done < length; done += MAX_BYTES) {
        const at = offset + start - run.start + done;
        yield { start: start + done, length: Math.min(MAX_BYTES, length - done), offset: at };
      }
    }
    offset += whole.length;
  }
}

/** Pieces that follow each other in the file, as many as one preadv() takes. */
function* lots(all: Iterable<Piece>): Generator<Piece[]> {
  let lot: Piece[] = [];
  let next = 0;
  let total = 0;
  for (const piece of all) {
    if (lot.length > 0 && (piece.offset !== next || lot.length === VECTORS || total + piece.length > MAX_BYTES)) {
      yield lot;
      lot = [];
      total = 0;
    }
    lot.push(piece);
    total += piece.length;
    next = piece.offset + piece.length;
  }
  if (lot.length > 0) yield lot;
}
