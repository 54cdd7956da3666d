/** The memory of a stopped task as a source of page contents. */
import { PAGE_SIZE } from '../../arch/page-size.ts';
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { PageRange } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import { UIO_MAXIOV } from '../../kernel/constants/memory.ts';
import { PinnedBuffer } from '../../kernel/ffi.ts';
import { tryOpen } from '../../kernel/files.ts';
import { describeErrno, ERRNO, Fd, trySyscall } from '../../kernel/syscall.ts';
import type { Helper } from '../../tracee/helper-process.ts';
import { forceRead, openMemory } from '../../tracee/memory.ts';
import type { Program } from '../../tracee/program.ts';
import type { Lot } from '../plan/lots.ts';
import { addRange, dropFrom, takeFrom, totalOf } from '../plan/ranges.ts';
import type { PageSource, RemoteReads, WasRead } from './source.ts';

/** Most pieces of a lot that a helper process reads one by one, so that a program has room for several lots. */
export const FEW_PIECES = 100;

/**
 * Reads `own` lots with one process_vm_readv(2) each, and all others through /proc/PID/mem, a piece at a time. The
 * iovecs are shared by all tasks of a dump.
 */
export class TaskSource implements PageSource, Disposable {
  readonly #pid: HostPid;
  readonly #mem: Fd;
  readonly #iovecs: PinnedBuffer<BigUint64Array>;

  constructor(pid: HostPid, iovecs: PinnedBuffer<BigUint64Array>, mem = openMemory(pid)) {
    this.#pid = pid;
    this.#mem = mem;
    this.#iovecs = iovecs;
  }

  /** The memory of a task that runs; undefined if it is gone. */
  static tryOpen(pid: HostPid, iovecs: PinnedBuffer<BigUint64Array>): TaskSource | undefined {
    const opened = tryOpen(`/proc/${pid}/mem`, O.RDONLY);
    return opened < 0 ? undefined : new TaskSource(pid, iovecs, new Fd(opened));
  }

  /** Room for the iovecs of the largest lot. */
  static iovecs(): PinnedBuffer<BigUint64Array> {
    return new PinnedBuffer(new BigUint64Array(2 * (UIO_MAXIOV + 1)));
  }

  read(lot: Lot, buffer: PinnedBuffer): void {
    if (lot.origin === 'own') this.#gather(lot, buffer);
    else this.#force(lot, buffer);
  }

  /**
   * Reads what is there of a lot, while the task runs and may unmap any of it, to the beginning of the buffer without
   * gaps. Returns the pieces that were read.
   */
  readWhatIsThere(lot: Lot, buffer: PinnedBuffer): PageRange[] {
    const found: PageRange[] = [];
    let filled = 0;
    const note = (start: number, length: number): void => {
      addRange(found, start, length);
      filled += length;
    };
    let left: readonly PageRange[] = lot.pieces;
    while (left.length > 0) {
      const want = totalOf(left);
      const got = lot.origin === 'own' ? this.#gatherSome(left, buffer.address + filled, want) : 0;
      // Whole pages: the kernel stops at the first page that it cannot read.
      for (const { start, length } of takeFrom(left, Math.max(0, got))) note(start, length);
      left = dropFrom(left, Math.max(0, got));
      const [next] = left;
      if (!next) break;
      const read = forceRead(this.#mem, next.start, buffer.view.subarray(filled) as Uint8Array, PAGE_SIZE);
      if (read === PAGE_SIZE) note(next.start, PAGE_SIZE);
      left = dropFrom(left, PAGE_SIZE);
    }
    return found;
  }

  #gatherSome(pieces: readonly PageRange[], to: number, length: number): number {
    const { view, address: at } = this.#iovecs;
    putIovecs(view, [{ start: to, length }, ...pieces]);
    const got = trySyscall('process_vm_readv', this.#pid, at, 1, at + 16, pieces.length, 0);
    return got < 0 ? 0 : got - (got % PAGE_SIZE);
  }

  get remotely(): RemoteReads {
    return {
      descriptor: this.#mem.number,
      isOurs: ({ origin, pieces }) => origin !== 'own' && pieces.length > FEW_PIECES,
      need: ({ origin, pieces }) => [origin === 'own' ? 1 : pieces.length, 16 * (pieces.length + 1)],
      add: (program, lot, helper, mem) =>
        lot.origin === 'own'
          ? gatherRemotely(program, this.#pid, helper, lot)
          : forceRemotely(program, helper, mem, lot),
    };
  }

  /** Reads scattered pieces with one process_vm_readv(2). */
  #gather({ pieces, length }: Lot, buffer: PinnedBuffer): void {
    const { view, address: at } = this.#iovecs;
    putIovecs(view, [{ start: buffer.address, length }, ...pieces]);
    const got = trySyscall('process_vm_readv', this.#pid, at, 1, at + 16, pieces.length, 0);
    if (got !== length) throw readError(this.#pid, pieces[0]?.start ?? 0, got);
  }

  #force({ pieces }: Lot, buffer: PinnedBuffer): void {
    let filled = 0;
    for (const { start, length } of pieces) {
      const got = forceRead(this.#mem, start, buffer.view.subarray(filled) as Uint8Array, length);
      if (got !== length) throw readError(this.#pid, start, got);
      filled += length;
    }
  }

  [Symbol.dispose](): void {
    this.#mem[Symbol.dispose]();
  }
}

/** Adds one process_vm_readv(2). */
function gatherRemotely(program: Program, pid: HostPid, { buffer }: Helper, { pieces, length }: Lot): WasRead {
  const iovecs = new BigUint64Array(2 * (pieces.length + 1));
  putIovecs(iovecs, [{ start: buffer, length }, ...pieces]);
  const at = program.data(new Uint8Array(iovecs.buffer));
  const read = program.attempt('process_vm_readv', pid, at, 1, at + 16, pieces.length, 0);
  return (results) => results.result(read) === length;
}

/** Adds a read of /proc/PID/mem for each piece. */
export function forceRemotely(program: Program, { buffer }: Helper, mem: number, { pieces }: Lot): WasRead {
  let filled = 0;
  const reads = pieces.map(({ start, length }) => {
    const read = program.attempt('pread64', mem, buffer + filled, length, start);
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

function readError(pid: HostPid, address: number, got: number): StasisError {
  const gone = got === -ERRNO.ESRCH;
  const partly = got < 0 ? `cannot be read: ${describeErrno(got)}` : `only ${got} bytes could be read`;
  return new StasisError({
    kind: gone ? 'gone' : 'kernel',
    task: { pid },
    resource: `memory at 0x${address.toString(16)}`,
    reason: gone ? 'the task was killed while Stasis saved it' : partly,
  });
}
