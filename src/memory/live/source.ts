/** The memory of a task as it was when a copy of it was made, as a source of page contents. */
import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { PageRange } from '../../contract/contract.ts';
import { O } from '../../kernel/constants/files.ts';
import type { PinnedBuffer } from '../../kernel/ffi.ts';
import { tryOpen } from '../../kernel/files.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { describeErrno, ERRNO, Fd, SyscallError } from '../../kernel/syscall.ts';
import { forceRead, openMemory } from '../../tracee/memory.ts';
import type { Lot } from '../plan/lots.ts';
import { anyBetween, endOf, partsBy, totalOf, without } from '../plan/ranges.ts';
import { scanPages } from '../scan.ts';
import type { PageSource, RemoteReads } from '../sources/source.ts';
import { FEW_PIECES, forceRemotely } from '../sources/task.ts';
import { rangesApart } from './worth.ts';

/** Pages that were read while the task was stopped. */
export class ReadBefore {
  readonly ranges: readonly PageRange[];
  readonly #bytes: Uint8Array;

  /** @throws StasisError if something cannot be read */
  constructor(pid: HostPid, ranges: readonly PageRange[]) {
    this.ranges = ranges;
    this.#bytes = new Uint8Array(totalOf(ranges));
    if (ranges.length === 0) return;
    using mem = openMemory(pid);
    let at = 0;
    for (const { start, length } of ranges) {
      const got = forceRead(mem, start, this.#bytes.subarray(at), length);
      if (got !== length) throw readError(pid, start, got);
      at += length;
    }
  }

  /** Copies a part of one of the ranges. */
  copy(part: PageRange, to: Uint8Array): void {
    let at = 0;
    for (const range of this.ranges) {
      if (part.start >= range.start && part.start < endOf(range)) {
        const from = at + part.start - range.start;
        to.set(this.#bytes.subarray(from, from + part.length));
        return;
      }
      at += range.length;
    }
  }
}

/**
 * Reads all pages through /proc/PID/mem of the copy: process_vm_readv(2) would have the kernel copy each of them before
 * (gup_must_unshare() in mm/internal.h). The copy must not run.
 */
export class CopySource implements PageSource, Disposable {
  readonly #pid: HostPid;
  readonly #mem: Fd;
  /** Opened while the copy surely lives: that of a zombie has no memory behind it, which kernels took for granted. */
  readonly #pagemap: Fd;
  readonly #before: ReadBefore;

  private constructor(pid: HostPid, mem: Fd, pagemap: Fd, before: ReadBefore) {
    this.#pid = pid;
    this.#mem = mem;
    this.#pagemap = pagemap;
    this.#before = before;
  }

  /**
   * The pages that the task had of its own in these mappings: what the copy has, and what it lacks.
   * @throws StasisError if the copy was killed
   */
  ownPages(vmas: readonly ProcVma[]): PageRange[] {
    const apart = rangesApart(vmas);
    const ranges = this.#scan(vmas);
    // A process without memory has no pages: some kernels say ESRCH, to others that is no error of the scan.
    const there = ranges && forceRead(this.#mem, 0, new Uint8Array(1), 1);
    if (!ranges || there === 0) throw readError(this.#pid, 0, 0);
    return [...without(ranges, apart), ...this.#before.ranges].sort((a, b) => a.start - b.start);
  }

  /** The pages that the copy has; undefined if the kernel says that it has no memory any more. */
  #scan(vmas: readonly ProcVma[]): PageRange[] | undefined {
    try {
      return scanPages(this.#pagemap, vmas).ranges;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ERRNO.ESRCH) return undefined;
      throw error;
    }
  }

  /** Undefined if the copy was killed; `before` are the pages that it lacks. @throws SyscallError */
  static open(pid: HostPid, before: ReadBefore): CopySource | undefined {
    const fd = tryOpen(`/proc/${pid}/mem`, O.RDONLY);
    if (fd === -ERRNO.ESRCH || fd === -ERRNO.ENOENT) return undefined;
    if (fd < 0) throw new SyscallError('openat', -fd, { resource: `/proc/${pid}/mem` });
    const mem = new Fd(fd);
    const pagemap = tryOpen(`/proc/${pid}/pagemap`, O.RDONLY);
    if (pagemap >= 0) return new CopySource(pid, mem, new Fd(pagemap), before);
    mem[Symbol.dispose]();
    if (pagemap === -ERRNO.ESRCH || pagemap === -ERRNO.ENOENT) return undefined;
    throw new SyscallError('openat', -pagemap, { resource: `/proc/${pid}/pagemap` });
  }

  read({ pieces }: Lot, buffer: PinnedBuffer): void {
    let filled = 0;
    for (const piece of pieces) {
      for (const { start, length, inside } of partsBy(piece, this.#before.ranges)) {
        const to = buffer.view.subarray(filled, filled + length) as Uint8Array;
        if (inside) this.#before.copy({ start, length }, to);
        else {
          const got = forceRead(this.#mem, start, to, length);
          if (got !== length) throw readError(this.#pid, start, got);
        }
        filled += length;
      }
    }
  }

  get remotely(): RemoteReads {
    const { ranges } = this.#before;
    return {
      descriptor: this.#mem.number,
      isOurs: ({ pieces }) =>
        pieces.length > FEW_PIECES || pieces.some((piece) => anyBetween(ranges, piece.start, endOf(piece))),
      need: ({ pieces }) => [pieces.length, 0],
      add: (program, lot, helper, mem) => forceRemotely(program, helper, mem, lot),
    };
  }

  [Symbol.dispose](): void {
    this.#mem[Symbol.dispose]();
    this.#pagemap[Symbol.dispose]();
  }
}

/** A copy that was killed has no memory any more: the kernel reads nothing (mem_rw() in fs/proc/base.c). */
function readError(pid: HostPid, address: number, got: number): StasisError {
  const resource = `memory at 0x${address.toString(16)}`;
  if (got !== 0) {
    const partly = got < 0 ? `cannot be read: ${describeErrno(got)}` : `only ${got} bytes could be read`;
    return new StasisError({ kind: 'kernel', task: { pid }, resource, reason: partly });
  }
  return new StasisError({
    kind: 'gone',
    code: 'COPY_KILLED',
    task: { pid },
    resource,
    reason: 'the process that kept the memory of the tree as it was at the freeze was killed before all was written',
    remedy: 'do not end processes named stasis-copy; if the machine was out of memory, make room',
  });
}
