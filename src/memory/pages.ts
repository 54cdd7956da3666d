/**
 * The page store of a dump. Page contents never become JavaScript objects: they pass through one reused buffer that is
 * small enough to stay in the processor's cache between the read from the task and the write to the image.
 */

import { PAGE_SIZE } from '../arch/page-size.ts';
import type { HostPid, LocalFd } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { firstIndex } from '../base/search.ts';
import type { PageRange, PageStore, SamePages } from '../contract/contract.ts';
import type { ImageSetWriter } from '../images/image-set-writer.ts';
import { Images } from '../images/kinds.ts';
import type { Block } from '../images/manifest.ts';
import { PageFlags, type PageRun } from '../images/pagemap.ts';
import { O } from '../kernel/constants/files.ts';
import { UIO_MAXIOV } from '../kernel/constants/memory.ts';
import { PinnedBuffer } from '../kernel/ffi.ts';
import { tryOpen } from '../kernel/files.ts';
import { arenaAddress, arenaView, describeErrno, ERRNO, Fd, trySyscall } from '../kernel/syscall.ts';
import { Helper, type RemoteWork, shareOut, WORTH_A_HELPER } from '../tracee/helper-process.ts';
import { requireUninterrupted } from '../tracee/interruption.ts';
import { forceRead, openMemory } from '../tracee/memory.ts';
import type { Program } from '../tracee/program.ts';
import { hexSums, PageSums, SUMS_SIZE } from './page-sums.ts';

const CHUNK = 1 << 20;

/** The counts of pages for stats-dump. */
export interface PageCounts {
  written: number;
  sharedWritten: number;
  microseconds: number;
}

export class Pages implements PageStore {
  readonly counts: PageCounts = { written: 0, sharedWritten: 0, microseconds: 0 };
  readonly #images: ImageSetWriter;
  readonly #buffer = new PinnedBuffer(new Uint8Array(CHUNK));
  readonly #iovecs = new PinnedBuffer(new BigUint64Array(2 * (UIO_MAXIOV + 1)));
  readonly #sums = new PageSums();
  readonly #stored = new Map<number, StoredTask>();
  #nextId = 1;

  readonly #stepped: ((bytes: number) => void) | undefined;

  readonly #savedPid: (pid: HostPid) => number;

  /**
   * @param savedPid the PID of a task in the images
   * @param stepped told of each piece of memory that is stored
   */
  constructor(images: ImageSetWriter, savedPid: (pid: HostPid) => number, stepped?: (bytes: number) => void) {
    this.#images = images;
    this.#savedPid = savedPid;
    this.#stepped = stepped;
  }

  storeTask(pid: HostPid, ranges: readonly PageRange[], hidden: readonly PageRange[], same?: SamePages): void {
    const began = performance.now();
    const pagesId = this.#nextId++;
    const path = `${this.#images.dir}/pages-${pagesId}.img`;
    const source = same && this.#stored.get(same.of);
    const ways = new Map<PageRange, Way>(hidden.map((range) => [range, 'hidden']));
    for (const range of same?.ranges ?? []) ways.set(range, source ? 'copied' : 'hidden');
    const all = [...ranges, ...ways.keys()].sort((a, b) => a.start - b.start);
    const lots = lotsOf(all, ways);
    const blocks = new Map<number, readonly Block[]>();
    using out = new Fd(this.#images.create(`pages-${pagesId}.img`));
    using mem = openMemory(pid);
    using original = source?.open();
    const store = (lot: Lot): void => {
      requireUninterrupted();
      this.#stepped?.(lot.length);
      const copied = lot.way === 'copied' && source && original && source.copy(original, out, lot);
      if (copied) return void blocks.set(lot.offset, copied);
      if (lot.way === 'plain') this.#gather(pid, lot);
      else this.#force(mem, lot);
      this.#sum(lot, blocks);
      writeAll(out.number, this.#buffer, lot, path);
    };
    const bytes = all.reduce((sum, range) => sum + range.length, 0);
    if (bytes < WORTH_A_HELPER) lots.forEach(store);
    else storeWithHelper(pid, lots, { out, mem, blocks }, store, this.#stepped);
    this.#noteBlocks(`pages-${pagesId}.img`, lots, blocks);
    this.counts.written += bytes / PAGE_SIZE;
    this.#images.writePagemap(Images.pagemap, this.#savedPid(pid), { pagesId, runs: all.map(presentRun) });
    this.#stored.set(pid, new StoredTask(path, all));
    this.counts.microseconds += (performance.now() - began) * 1000;
  }

  storeSegment(id: number | bigint, local: LocalFd, ranges: readonly PageRange[]): void {
    const pagesId = this.#nextId++;
    const name = `pages-${pagesId}.img`;
    using out = new Fd(this.#images.create(name));
    const lots = lotsOf(ranges, new Map());
    const blocks = new Map<number, readonly Block[]>();
    for (const lot of lots) {
      requireUninterrupted();
      let filled = 0;
      for (const { start, length } of lot.pieces) {
        const got = trySyscall('pread64', local, this.#buffer.address + filled, length, start);
        if (got < 0) throw readError(undefined, start, got);
        this.#buffer.view.fill(0, filled + got, filled + length);
        filled += length;
      }
      this.#sum(lot, blocks);
      writeAll(out.number, this.#buffer, lot, `${this.#images.dir}/${name}`);
      this.#stepped?.(lot.length);
      this.counts.sharedWritten += filled / PAGE_SIZE;
    }
    this.#noteBlocks(name, lots, blocks);
    this.#images.writePagemap(Images.shmemPagemap, id, { pagesId, runs: ranges.map(presentRun) });
  }

  /** What is in the buffer, while it is in the processor's cache. */
  #sum({ length, offset }: Lot, blocks: Map<number, readonly Block[]>): void {
    const sums = this.#sums.of(this.#buffer.address, length);
    if (sums !== undefined) blocks.set(offset, [[length, sums]]);
  }

  /** All or nothing: a processor that cannot compute the sums has none. */
  #noteBlocks(name: string, lots: readonly Lot[], blocks: ReadonlyMap<number, readonly Block[]>): void {
    const list = lots.map(({ offset }) => blocks.get(offset));
    if (list.every((part) => part !== undefined)) this.#images.noteBlocks(name, list.flat());
  }

  /** Reads scattered pieces into the buffer with one process_vm_readv(2). */
  #gather(pid: HostPid, { pieces, length }: Lot): void {
    const { view, address: at } = this.#iovecs;
    putIovecs(view, [{ start: this.#buffer.address, length }, ...pieces]);
    const got = trySyscall('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
    if (got !== length) throw readError(pid, pieces[0]?.start ?? 0, got);
  }

  #force(mem: Fd, { pieces }: Lot): void {
    let filled = 0;
    for (const { start, length } of pieces) {
      const got = forceRead(mem, start, this.#buffer.view.subarray(filled), length);
      if (got !== length) throw readError(undefined, start, got);
      filled += length;
    }
  }
}

/** A lot: the pieces that pass through the buffer together. */
interface Lot {
  readonly pieces: readonly PageRange[];
  /** Bytes of all pieces. */
  readonly length: number;
  /** Their offset in the pages file. */
  readonly offset: number;
  readonly way: Way;
}

/**
 * How pages are read: `plain` by process_vm_readv(2), `hidden` through /proc/PID/mem, `copied` from the pages file of
 * another task.
 */
type Way = 'plain' | 'hidden' | 'copied';

/** A task whose pages are stored. */
class StoredTask {
  readonly #path: string;
  readonly #starts: Float64Array;
  /** The offset of each range in the file, then the size of the file. */
  readonly #offsets: Float64Array;

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
   * blocks. Returns where it stands in that file, or undefined if not everything could be
   * copied this way; the caller then reads the lot from the task.
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

/** Most pieces of a lot that a helper process reads one by one, so that a program has room for several lots. */
const FEW_PIECES = 100;

/**
 * Stores lots with the help of a second process. What the helper cannot read is read again here, where errors are
 * reported. Lots that are copied in the kernel, and hidden lots of many small pieces, are left to us. `mem` is
 * /proc/PID/mem.
 */
function storeWithHelper(
  pid: HostPid,
  lots: readonly Lot[],
  { out, mem, blocks }: { readonly out: Fd; readonly mem: Fd; readonly blocks: Map<number, readonly Block[]> },
  store: (lot: Lot) => void,
  stepped: ((bytes: number) => void) | undefined,
): void {
  using helper = Helper.start(CHUNK, [out.number, mem.number]);
  const isOurs = ({ way, pieces }: Lot): boolean =>
    !helper || way === 'copied' || (way === 'hidden' && pieces.length > FEW_PIECES);
  for (const lot of lots) if (isOurs(lot)) store(lot);
  if (!helper) return;
  const copy: RemoteWork<Lot> = (program, lot) => {
    const plain = lot.way === 'plain';
    if (!program.fits(plain ? 3 : lot.pieces.length + 2, 16 * (lot.pieces.length + 2))) return undefined;
    const read = plain ? gatherRemotely(program, pid, helper, lot) : forceRemotely(program, helper, lot);
    const sums = program.space(SUMS_SIZE);
    const summed = program.run(helper.sums, helper.buffer, lot.length, sums);
    const written = program.attempt('pwrite64', helper.descriptors[0] ?? -1, helper.buffer, lot.length, lot.offset);
    return (results) => {
      if (!read(results) || results.result(written) !== lot.length) return store(lot);
      if (results.result(summed) === 0) blocks.set(lot.offset, [[lot.length, hexSums(results.bytes(sums, SUMS_SIZE))]]);
      stepped?.(lot.length);
    };
  };
  shareOut(
    lots.filter((lot) => !isOurs(lot)),
    helper.remote,
    copy,
    store,
  );
}

/** Tells from the results of the program whether everything was read. */
type WasRead = (results: Program) => boolean;

/** Adds one process_vm_readv(2). */
function gatherRemotely(program: Program, pid: HostPid, { buffer }: Helper, { pieces, length }: Lot): WasRead {
  const iovecs = new BigUint64Array(2 * (pieces.length + 1));
  putIovecs(iovecs, [{ start: buffer, length }, ...pieces]);
  const at = program.data(new Uint8Array(iovecs.buffer));
  const read = program.attempt('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
  return (results) => results.result(read) === length;
}

/** Adds a read of /proc/PID/mem for each piece. */
function forceRemotely(program: Program, { buffer, descriptors }: Helper, { pieces }: Lot): WasRead {
  let filled = 0;
  const reads = pieces.map(({ start, length }) => {
    const read = program.attempt('pread64', descriptors[1] ?? -1, buffer + filled, length, start);
    filled += length;
    return { read, length };
  });
  return (results) => reads.every(({ read, length }) => results.result(read) === length);
}

function putIovecs(iovecs: BigUint64Array, ranges: readonly PageRange[]): void {
  let at = 0;
  for (const { start, length } of ranges) {
    iovecs[at++] = BigInt(start);
    iovecs[at++] = BigInt(length);
  }
}

function presentRun(range: PageRange): PageRun {
  return { start: range.start, pages: range.length / PAGE_SIZE, flags: PageFlags.PRESENT };
}

/**
 * Cuts ranges into lots that fit the buffer and one system call. A lot holds ranges of one way only; ranges without an
 * entry in `ways` are plain.
 */
function lotsOf(ranges: readonly PageRange[], ways: ReadonlyMap<PageRange, Way>): Lot[] {
  const lots: Lot[] = [];
  let pieces: PageRange[] = [];
  let length = 0;
  let offset = 0;
  let way: Way = 'plain';
  const close = (): void => {
    lots.push({ pieces, length, offset, way });
    offset += length;
    pieces = [];
    length = 0;
  };
  for (const range of ranges) {
    const next = ways.get(range) ?? 'plain';
    if (pieces.length > 0 && next !== way) close();
    way = next;
    for (let done = 0; done < range.length; ) {
      const piece = Math.min(CHUNK - length, range.length - done);
      pieces.push({ start: range.start + done, length: piece });
      done += piece;
      length += piece;
      if (length === CHUNK || pieces.length === UIO_MAXIOV) close();
    }
  }
  if (pieces.length > 0) close();
  return lots;
}

function writeAll(fd: number, buffer: PinnedBuffer, { length, offset }: Lot, path: string): void {
  for (let done = 0; done < length; ) {
    const got = trySyscall('pwrite64', fd, buffer.address + done, length - done, offset + done);
    if (got > 0) done += got;
    else if (got !== -ERRNO.EINTR) {
      const remedy = got === -ERRNO.ENOSPC ? 'make room on the file system of the images' : undefined;
      throw new StasisError({ kind: 'io', resource: path, reason: `write: ${describeErrno(got)}`, remedy });
    }
  }
}

function readError(pid: HostPid | undefined, address: number, got: number): StasisError {
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
