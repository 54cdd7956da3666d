/**
 * Contexts of asynchronous I/O (io_setup). A context is identified by the address of its ring, which is a mapping. The
 * kernel also keeps its own position of the ring's tail, which only completed requests can move.
 */

import { cstring } from '../../../base/text.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { ImageError } from '../../../images/error.ts';
import type { AioRingEntry } from '../../../images/schema/memory.ts';
import { AT, O } from '../../../kernel/constants/files.ts';
import { IOCB_CMD, MREMAP } from '../../../kernel/constants/memory.ts';
import { AioRing, Iocb } from '../../../kernel/layouts/aio.ts';
import { vmaName } from '../../../kernel/proc/vmaname.ts';
import { readMemory, writeMemory } from '../../../tracee/memory.ts';
import { completions, isRing, requestsOf } from './ring.ts';

/** Captures only the list of rings; the memory kind captures the mappings and their contents. */
function capture(task: DumpTask): undefined {
  const rings = task.vmas.filter((vma) => vmaName(vma.name).kind === 'aio');
  if (rings.length === 0) return;
  task.mm.aios = rings.map((vma) => ({
    id: vma.start,
    nr_req: requestsOf(vma.end - vma.start),
    ring_len: vma.end - vma.start,
  }));
}

/** Runs right after the memory kind, which has put the old content of each ring at its address. */
function rebuild(task: RestoreTask): void {
  for (const ring of task.mm.aios) rebuildRing(ring, task);
}

/**
 * Makes a new context, moves its tail to the saved position, copies the events, and moves the ring to its saved
 * address.
 */
function rebuildRing(entry: AioRingEntry, task: RestoreTask): void {
  const { batch, pid } = task;
  const host = task.tracee.pid;
  const address = Number(entry.id);
  const length = entry.ring_len;
  batch.flush();
  const old = readMemory(host, address, new Uint8Array(length));
  if (!isRing(old, length)) {
    throw new ImageError({ file: `mm-${pid}.img`, reason: `no AIO ring at 0x${address.toString(16)}` });
  }
  const context = setUp(entry.nr_req, task);
  const fresh = readMemory(host, context, new Uint8Array(AioRing.size));
  const { head, tail, nr } = AioRing.decode(old);
  if (!isRing(fresh, length)) {
    throw new ImageError({
      file: `mm-${pid}.img`,
      reason: `an AIO context of ${entry.nr_req} requests is no ${nr} events`,
    });
  }
  complete(completions(head, tail, nr), head, nr, context, task);
  writeMemory(host, context + AioRing.size, old.subarray(AioRing.size));
  batch.call('mremap', context, length, length, MREMAP.MAYMOVE | MREMAP.FIXED, address);
}

function setUp(requests: number, task: RestoreTask): number {
  const program = task.batch.reserve(1, 8);
  const out = program.space(8);
  program.call('io_setup', requests, out);
  let context = 0;
  task.batch.after((done) => {
    context = Number(done.view(out, 8).getBigUint64(0, true));
  });
  task.batch.flush();
  return context;
}

/**
 * Completes `count` requests, which are writes to /dev/null and complete at once. The head follows the tail, to make
 * room.
 */
function complete(count: number, head: number, nr: number, context: number, task: RestoreTask): void {
  if (count === 0) return;
  const fd = openNull(task);
  for (let done = 0; done < count; ) {
    done += submit(Math.min(count - done, nr - 1, MOST), fd, context, task);
    const moved = new Uint8Array(new Uint32Array([Math.min(done, head)]).buffer);
    writeMemory(task.tracee.pid, context + AioRing.offsets.head, moved);
  }
  task.batch.call('close', fd);
}

/** Most requests in one call; their pointers have to fit the heap of a program. */
const MOST = 1024;

function openNull(task: RestoreTask): number {
  const program = task.batch.reserve(1, 16);
  const opened = program.call('openat', AT.FDCWD, program.data(cstring('/dev/null')), O.WRONLY);
  let fd = -1;
  task.batch.after((done) => {
    fd = done.result(opened);
  });
  task.batch.flush();
  return fd;
}

function submit(count: number, fd: number, context: number, task: RestoreTask): number {
  const program = task.batch.reserve(1, 8 * count + Iocb.size + 16);
  const buffer = BigInt(program.space(8));
  const request = program.data(Iocb.encode({ opcode: IOCB_CMD.PWRITE, fd, buffer, length: 1n }));
  const pointers = new BigUint64Array(count).fill(BigInt(request));
  const call = program.call('io_submit', context, count, program.data(new Uint8Array(pointers.buffer)));
  let submitted = 0;
  task.batch.after((done) => {
    submitted = done.result(call);
  });
  task.batch.flush();
  return submitted;
}

/**
 * AIO contexts. The kind runs after `memory`, since io_setup(2) maps the ring of a context where there is room left.
 */
export const aio: TaskKind = { name: 'aio', after: ['memory'], capture, rebuild: { memory: rebuild } };
