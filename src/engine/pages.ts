/**
 * The page store of a dump. Page contents never become JavaScript objects: they pass through one reused buffer, small
 * enough to stay in the processor's cache between being read from the task and written to the image.
 */
import { StasisError } from '../base/errors.ts';
import type { ImageSetWriter } from '../images/image-set.ts';
import { Images } from '../images/kinds.ts';
import { PageFlags, type PageRun } from '../images/pagemap.ts';
import { addressOf } from '../kernel/ffi.ts';
import { describeErrno, ERRNO, Fd, trySyscall } from '../kernel/syscall.ts';
import type { PageRange, PageStore } from '../kinds/contract.ts';
import { forceRead, openMemory } from '../tracee/memory.ts';

const PAGE = 4096;
const CHUNK = 1 << 20;
/** UIO_MAXIOV. */
const MAX_PIECES = 1024;

/** What stats-dump tells of pages. */
export interface PageCounts {
  written: number;
  sharedWritten: number;
  microseconds: number;
}

export class Pages implements PageStore {
  readonly counts: PageCounts = { written: 0, sharedWritten: 0, microseconds: 0 };
  readonly #images: ImageSetWriter;
  readonly #buffer = new Uint8Array(CHUNK);
  readonly #iovecs = new BigUint64Array(2 * (MAX_PIECES + 1));
  #nextId = 1;

  constructor(images: ImageSetWriter) {
    this.#images = images;
  }

  storeTask(pid: number, ranges: readonly PageRange[], hidden: readonly PageRange[]): void {
    const began = performance.now();
    const pagesId = this.#nextId++;
    const all = [...ranges, ...hidden].sort((a, b) => a.start - b.start);
    const secret = new Set(hidden);
    using out = new Fd(this.#images.create(`pages-${pagesId}.img`));
    using mem = openMemory(pid);
    for (const { pieces, hidden: force } of batches(all, secret)) {
      const length = force ? this.#force(mem, pieces) : this.#gather(pid, pieces);
      writeAll(out.number, this.#buffer, length, `${this.#images.dir}/pages-${pagesId}.img`);
      this.counts.written += length / PAGE;
    }
    this.#images.writePagemap(Images.pagemap, pid, { pagesId, runs: all.map(presentRun) });
    this.counts.microseconds += (performance.now() - began) * 1000;
  }

  storeSegment(id: number | bigint, local: number, ranges: readonly PageRange[]): void {
    const pagesId = this.#nextId++;
    const name = `pages-${pagesId}.img`;
    using out = new Fd(this.#images.create(name));
    for (const { pieces } of batches(ranges, new Set())) {
      let filled = 0;
      for (const { start, length } of pieces) {
        const got = trySyscall('pread64', local, addressOf(this.#buffer) + filled, length, start);
        if (got < 0) throw readError(0, start, got);
        this.#buffer.fill(0, filled + got, filled + length);
        filled += length;
      }
      writeAll(out.number, this.#buffer, filled, `${this.#images.dir}/${name}`);
      this.counts.sharedWritten += filled / PAGE;
    }
    this.#images.writePagemap(Images.shmemPagemap, id, { pagesId, runs: ranges.map(presentRun) });
  }

  /** Many scattered pieces into the buffer with one process_vm_readv. */
  #gather(pid: number, pieces: readonly PageRange[]): number {
    const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const iovecs = this.#iovecs;
    iovecs[0] = BigInt(addressOf(this.#buffer));
    iovecs[1] = BigInt(total);
    pieces.forEach((piece, i) => {
      iovecs[2 + 2 * i] = BigInt(piece.start);
      iovecs[3 + 2 * i] = BigInt(piece.length);
    });
    const at = addressOf(iovecs);
    const got = trySyscall('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
    if (got !== total) throw readError(pid, pieces[0]?.start ?? 0, got);
    return total;
  }

  #force(mem: Fd, pieces: readonly PageRange[]): number {
    let filled = 0;
    for (const { start, length } of pieces) {
      const got = forceRead(mem, start, this.#buffer.subarray(filled), length);
      if (got !== length) throw readError(0, start, got);
      filled += length;
    }
    return filled;
  }
}

function presentRun(range: PageRange): PageRun {
  return { start: range.start, pages: range.length / PAGE, flags: PageFlags.PRESENT };
}

/** Cuts ranges into lots that fit the buffer and one system call; hidden and plain ones are not mixed. */
function* batches(
  ranges: readonly PageRange[],
  secret: ReadonlySet<PageRange>,
): Generator<{ pieces: PageRange[]; hidden: boolean }> {
  let pieces: PageRange[] = [];
  let room = CHUNK;
  let hidden = false;
  for (const range of ranges) {
    if (pieces.length > 0 && secret.has(range) !== hidden) {
      yield { pieces, hidden };
      pieces = [];
      room = CHUNK;
    }
    hidden = secret.has(range);
    for (let done = 0; done < range.length; ) {
      const length = Math.min(room, range.length - done);
      pieces.push({ start: range.start + done, length });
      done += length;
      room -= length;
      if (room > 0 && pieces.length < MAX_PIECES) continue;
      yield { pieces, hidden };
      pieces = [];
      room = CHUNK;
    }
  }
  if (pieces.length > 0) yield { pieces, hidden };
}

function writeAll(fd: number, buffer: Uint8Array, length: number, path: string): void {
  const at = addressOf(buffer);
  for (let done = 0; done < length; ) {
    const got = trySyscall('write', fd, at + done, length - done);
    if (got > 0) done += got;
    else if (got !== -ERRNO.EINTR) {
      const remedy = got === -ERRNO.ENOSPC ? 'make room on the file system of the images' : undefined;
      throw new StasisError({ kind: 'io', resource: path, reason: `write: ${describeErrno(got)}`, remedy });
    }
  }
}

function readError(pid: number, address: number, got: number): StasisError {
  return new StasisError({
    kind: got === -ERRNO.ESRCH ? 'gone' : 'kernel',
    task: pid ? { pid } : undefined,
    resource: `memory at 0x${address.toString(16)}`,
    reason: got < 0 ? `cannot be read: ${describeErrno(got)}` : `only ${got} bytes could be read`,
  });
}
