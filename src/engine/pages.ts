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
import { Helper, type RemoteWork, shareOut, WORTH_TWO_HANDS } from '../tracee/hands.ts';
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
    const lots = lotsOf(all, secret);
    const bytes = all.reduce((sum, range) => sum + range.length, 0);
    using out = new Fd(this.#images.create(`pages-${pagesId}.img`));
    using mem = openMemory(pid);
    const store = (lot: Lot): void => {
      if (lot.hidden) this.#force(mem, lot);
      else this.#gather(pid, lot);
      writeAll(out.number, this.#buffer, lot, `${this.#images.dir}/pages-${pagesId}.img`);
    };
    if (bytes < WORTH_TWO_HANDS) lots.forEach(store);
    else storeWithHelper(pid, lots, out.number, store);
    this.counts.written += bytes / PAGE;
    this.#images.writePagemap(Images.pagemap, pid, { pagesId, runs: all.map(presentRun) });
    this.counts.microseconds += (performance.now() - began) * 1000;
  }

  storeSegment(id: number | bigint, local: number, ranges: readonly PageRange[]): void {
    const pagesId = this.#nextId++;
    const name = `pages-${pagesId}.img`;
    using out = new Fd(this.#images.create(name));
    for (const lot of lotsOf(ranges, new Set())) {
      let filled = 0;
      for (const { start, length } of lot.pieces) {
        const got = trySyscall('pread64', local, addressOf(this.#buffer) + filled, length, start);
        if (got < 0) throw readError(0, start, got);
        this.#buffer.fill(0, filled + got, filled + length);
        filled += length;
      }
      writeAll(out.number, this.#buffer, lot, `${this.#images.dir}/${name}`);
      this.counts.sharedWritten += filled / PAGE;
    }
    this.#images.writePagemap(Images.shmemPagemap, id, { pagesId, runs: ranges.map(presentRun) });
  }

  /** Many scattered pieces into the buffer with one process_vm_readv. */
  #gather(pid: number, { pieces, length }: Lot): void {
    const at = addressOf(this.#iovecs);
    putIovecs(this.#iovecs, [{ start: addressOf(this.#buffer), length }, ...pieces]);
    const got = trySyscall('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
    if (got !== length) throw readError(pid, pieces[0]?.start ?? 0, got);
  }

  #force(mem: Fd, { pieces }: Lot): void {
    let filled = 0;
    for (const { start, length } of pieces) {
      const got = forceRead(mem, start, this.#buffer.subarray(filled), length);
      if (got !== length) throw readError(0, start, got);
      filled += length;
    }
  }
}

/** What goes through the buffer at once. */
interface Lot {
  readonly pieces: readonly PageRange[];
  /** Bytes of all pieces. */
  readonly length: number;
  /** Where they belong in the pages file. */
  readonly offset: number;
  /** Not to be read by process_vm_readv(). */
  readonly hidden: boolean;
}

/** A helper process copies at our side; what it cannot do is done again here, where errors are told. */
function storeWithHelper(pid: number, lots: readonly Lot[], out: number, store: (lot: Lot) => void): void {
  using helper = Helper.hire(CHUNK, [out]);
  for (const lot of lots) if (lot.hidden || !helper) store(lot);
  if (!helper) return;
  const { buffer, descriptors } = helper;
  const copy: RemoteWork<Lot> = (program, lot) => {
    const { pieces, length, offset } = lot;
    if (!program.fits(2, 16 * (pieces.length + 1))) return undefined;
    const iovecs = new BigUint64Array(2 * (pieces.length + 1));
    putIovecs(iovecs, [{ start: buffer, length }, ...pieces]);
    const at = program.data(new Uint8Array(iovecs.buffer));
    const read = program.attempt('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
    const written = program.attempt('pwrite64', descriptors[0] ?? -1, buffer, length, offset);
    return (results) => {
      if (results.result(read) !== length || results.result(written) !== length) store(lot);
    };
  };
  const plain = lots.filter((lot) => !lot.hidden);
  shareOut(plain, helper.remote, copy, store);
}

function putIovecs(iovecs: BigUint64Array, ranges: readonly PageRange[]): void {
  let at = 0;
  for (const { start, length } of ranges) {
    iovecs[at++] = BigInt(start);
    iovecs[at++] = BigInt(length);
  }
}

function presentRun(range: PageRange): PageRun {
  return { start: range.start, pages: range.length / PAGE, flags: PageFlags.PRESENT };
}

/** Cuts ranges into lots that fit the buffer and one system call; hidden and plain ones are not mixed. */
function lotsOf(ranges: readonly PageRange[], secret: ReadonlySet<PageRange>): Lot[] {
  const lots: Lot[] = [];
  let pieces: PageRange[] = [];
  let length = 0;
  let offset = 0;
  let hidden = false;
  const close = (): void => {
    lots.push({ pieces, length, offset, hidden });
    offset += length;
    pieces = [];
    length = 0;
  };
  for (const range of ranges) {
    if (pieces.length > 0 && secret.has(range) !== hidden) close();
    hidden = secret.has(range);
    for (let done = 0; done < range.length; ) {
      const piece = Math.min(CHUNK - length, range.length - done);
      pieces.push({ start: range.start + done, length: piece });
      done += piece;
      length += piece;
      if (length === CHUNK || pieces.length === MAX_PIECES) close();
    }
  }
  if (pieces.length > 0) close();
  return lots;
}

function writeAll(fd: number, buffer: Uint8Array, { length, offset }: Lot, path: string): void {
  const at = addressOf(buffer);
  for (let done = 0; done < length; ) {
    const got = trySyscall('pwrite64', fd, at + done, length - done, offset + done);
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
    reason:
      got === -ERRNO.ESRCH
        ? 'the task was killed while Stasis saved it'
        : got < 0
          ? `cannot be read: ${describeErrno(got)}`
          : `only ${got} bytes could be read`,
  });
}
