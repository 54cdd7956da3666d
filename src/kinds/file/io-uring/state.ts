/** What the kernel keeps of a ring. /proc shows only a part of it, so most of it is read from the kernel's memory. */
import type { OpenFile } from '../../../contract/contract.ts';
import type { Btf } from '../../../kernel/btf.ts';
import { IO_RINGFD_REG_MAX, IORING_SETUP } from '../../../kernel/constants/uring.ts';
import { kernelBytes, kernelTypes, listLength, privateData, taskAddress } from '../../../kernel/kernel-memory.ts';
import { nap } from '../../../kernel/nap.ts';
import { linesOf } from '../../../kernel/proc/common.ts';

/** A buffer of a task that is registered with a ring; both 0 for an empty place. */
export interface RegisteredBuffer {
  readonly address: bigint;
  readonly length: number;
}

/** A thread of the kernel that takes the requests of a ring. */
export interface Poller {
  /** The PID of the process it works for; 0 if it has ended. */
  readonly pid: number;
  /** How long it waits for requests before it sleeps, in ticks of the kernel. */
  readonly idleTicks: number;
  /** The processor it is bound to; undefined if it is bound to none. */
  readonly cpu: number | undefined;
}

export interface RingState {
  /** IORING_SETUP_*. */
  readonly flags: number;
  readonly sqEntries: number;
  readonly cqEntries: number;
  /** The kernel's own counters: requests taken, and completions given. */
  readonly sqHead: number;
  readonly cqTail: number;
  /** Offsets in the mapping of the ring; of the indices undefined if the ring has none. */
  readonly array: number | undefined;
  readonly cqes: number;
  /** The thread of the kernel that takes requests (SQPOLL). */
  readonly poller: Poller | undefined;
  /** The TID of the only thread that may use the ring (SINGLE_ISSUER); 0 if that has ended. */
  readonly submitter: number | undefined;
  /** Requests that are not completed. */
  readonly inFlight: number;
  /** What requests wait for without an end: `poll`, `timeout`, … */
  readonly waiting: readonly string[];
  /** State that is not carried, in words for people. */
  readonly foreign: readonly string[];
  readonly buffers: readonly RegisteredBuffer[];
  /** The addresses of the registered files in the kernel; 0n for an empty place. */
  readonly files: readonly bigint[];
}

/**
 * How often a ring is read that changes meanwhile, so that its lists lead nowhere, or whose lock is held all the time.
 * A thread of the kernel that polls does so in bursts; the pauses let one end. On a busy machine it may have to wait
 * for a processor with the lock in its hands.
 */
const MOST_READINGS = 30;
/** Nanoseconds; the pauses become longer. */
const PAUSE = 2_000_000;

/** What a ring is, as far as the kernel tells; undefined if that is not enough. */
export function ringState(file: OpenFile): RingState | undefined {
  if (!kernelTypes()) return undefined;
  for (let readings = 1; ; readings++) {
    const state = readState(file);
    if (state !== 'unsteady') return state;
    if (readings === MOST_READINGS) return undefined;
    nap(readings * PAUSE);
  }
}

/** Undefined if the kernel does not let us read it. */
function readState(file: OpenFile): RingState | 'unsteady' | undefined {
  const types = kernelTypes();
  const address = types && privateData(file.local);
  const size = types?.sizeOf('io_ring_ctx');
  if (!types || address === undefined || size === undefined) return undefined;
  const bytes = kernelBytes(file.local, address, size);
  if (!bytes) return 'unsteady';
  try {
    return new Reader(types, address, bytes, file).state();
  } catch (error) {
    if (error instanceof Unknown) return 'unsteady';
    throw error;
  }
}

/** How often fdinfo is read until the kernel shows the ring: it does not while somebody uses that. */
const MOST_LOOKS = 1000;

/** The lines of fdinfo (io_uring_show_fdinfo() in io_uring/fdinfo.c takes the lock of the ring only if it is free). */
function shownLines(file: OpenFile): string[] {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const lines = linesOf(file.fdinfo());
    if (lines.some((line) => line.startsWith('UserBufs:'))) return lines;
  }
  throw new Unknown();
}

/** The kernel does not tell something. */
class Unknown extends Error {}

/** Members that are pointers or heads of lists, NULL in a ring that does not have such a thing. */
const FOREIGN: readonly (readonly [struct: string, member: string, inner: string | undefined, what: string])[] = [
  ['io_ring_ctx', 'io_ev_fd', undefined, 'an eventfd that is told of completions (IORING_REGISTER_EVENTFD)'],
  ['io_ring_ctx', 'personalities', 'xa_head', 'registered credentials (IORING_REGISTER_PERSONALITY)'],
  ['io_ring_ctx', 'io_bl_xa', 'xa_head', 'buffers provided to the kernel (IORING_REGISTER_PBUF_RING)'],
  ['io_ring_ctx', 'zcrx_ctxs', 'xa_head', 'queues of a network device (IORING_REGISTER_ZCRX_IFQ)'],
];

/** Lists of requests that wait until something happens. */
const WAITING: readonly (readonly [member: string, what: string])[] = [
  ['waitid_list', 'waitid'],
  ['futex_list', 'futex'],
  ['cancelable_uring_cmd', 'command'],
];

class Reader {
  readonly #types: Btf;
  readonly #address: bigint;
  readonly #view: DataView;
  readonly #file: OpenFile;
  readonly #lines: readonly string[];

  constructor(types: Btf, address: bigint, bytes: Uint8Array, file: OpenFile) {
    this.#types = types;
    this.#address = address;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
    this.#lines = shownLines(file);
  }

  state(): RingState {
    const flags = this.#word('flags');
    const rings = this.#long('rings');
    const array = this.#long('sq_array');
    return {
      flags,
      sqEntries: this.#word('sq_entries'),
      cqEntries: this.#word('cq_entries'),
      sqHead: this.#word('cached_sq_head'),
      cqTail: this.#word('cached_cq_tail'),
      array: array === 0n ? undefined : Number(array - rings),
      cqes: this.#sizeOf('io_rings'),
      poller: flags & IORING_SETUP.SQPOLL ? this.#poller(flags) : undefined,
      submitter: flags & IORING_SETUP.SINGLE_ISSUER ? this.#submitter() : undefined,
      inFlight: this.#inFlight(),
      waiting: this.#waiting(),
      foreign: this.#foreign(),
      buffers: this.#buffers(),
      files: this.#files(),
    };
  }

  #offset(member: string, inner?: readonly [struct: string, member: string]): number {
    const at = this.#types.offsetOf('io_ring_ctx', member);
    const more = inner ? this.#types.offsetOf(...inner) : 0;
    if (at === undefined || more === undefined) throw new Unknown();
    return at + more;
  }

  #sizeOf(struct: string): number {
    const size = this.#types.sizeOf(struct);
    if (size === undefined) throw new Unknown();
    return size;
  }

  #word(member: string, inner?: readonly [string, string]): number {
    return this.#view.getUint32(this.#offset(member, inner), true);
  }

  #long(member: string, inner?: readonly [string, string]): bigint {
    return this.#view.getBigUint64(this.#offset(member, inner), true);
  }

  /** Memory of the kernel as 64-bit words. */
  #words(address: bigint, count: number): BigUint64Array {
    const bytes = kernelBytes(this.#file.local, address, 8 * count);
    if (!bytes) throw new Unknown();
    return new BigUint64Array(bytes.slice().buffer);
  }

  #submitter(): number {
    const task = this.#long('submitter_task');
    const at = this.#types.offsetOf('task_struct', 'pid');
    if (at === undefined) throw new Unknown();
    const bytes = task === 0n ? undefined : kernelBytes(this.#file.local, task + BigInt(at), 4);
    return bytes ? new DataView(bytes.buffer).getUint32(0, true) : 0;
  }

  #poller(flags: number): Poller {
    const data = this.#long('sq_data');
    const [thread, tgid] = ['thread', 'task_tgid'].map((member) => this.#types.offsetOf('io_sq_data', member));
    if (thread === undefined || tgid === undefined || data === 0n) throw new Unknown();
    const [task = 0n] = this.#words(data + BigInt(thread), 1);
    const [word = 0n] = this.#words(data + BigInt(tgid), 1);
    const cpu = /^SqThreadCpu:\s*(\d+)$/m.exec(this.#lines.join('\n'))?.[1];
    return {
      pid: task === 0n ? 0 : Number(BigInt.asUintN(32, word)),
      idleTicks: this.#word('sq_thread_idle'),
      cpu: flags & IORING_SETUP.SQ_AFF && cpu !== undefined ? Number(cpu) : undefined,
    };
  }

  /**
   * Requests that are allocated and not free: since 6.17 a ring counts the former (io_alloc_req() in
   * io_uring/io_uring.c), and keeps the latter in a list.
   */
  #inFlight(): number {
    const allocated = this.#word('nr_req_allocated');
    if (allocated === 0) return 0;
    const list = BigInt(this.#offset('submit_state', ['io_submit_state', 'free_list']));
    const free = listLength(this.#file.local, this.#address + list);
    if (free === undefined) throw new Unknown();
    return allocated - free;
  }

  #waiting(): string[] {
    const found = WAITING.filter(([member]) => this.#long(member) !== 0n).map(([, what]) => what);
    if (this.#lines.some((line) => /^ {2}op=/.test(line))) found.push('poll');
    if (!this.#isEmpty('timeout_list')) found.push('timeout');
    return found;
  }

  /** A list_head that is empty refers to itself. */
  #isEmpty(list: string): boolean {
    return this.#long(list) === this.#address + BigInt(this.#offset(list));
  }

  #foreign(): string[] {
    const found = FOREIGN.filter(
      ([, member, inner]) => this.#long(member, inner ? ['xarray', inner] : undefined) !== 0n,
    );
    const what = found.map(([, , , words]) => words);
    if (this.#view.getUint8(this.#offset('restrictions', ['io_restriction', 'registered'])) !== 0) {
      what.push('restrictions of what may be done with it (IORING_REGISTER_RESTRICTIONS)');
    }
    if (this.#word('param_region', ['io_mapped_region', 'nr_pages']) !== 0) {
      what.push('memory for the arguments of waits (IORING_REGISTER_MEM_REGION)');
    }
    if (!this.#isEmpty('cq_overflow_list')) what.push('completions that did not fit its queue');
    if ([...this.#nodes('buf_table'), ...this.#nodes('file_table')].some((node) => this.#tag(node) !== 0n)) {
      what.push('tags of registered buffers or files');
    }
    if (this.#lines.some((line) => /^NAPI:\s*enabled/.test(line))) what.push('busy polling (IORING_REGISTER_NAPI)');
    if (this.#hasRegisteredNumber()) what.push('a number of its own in a thread (IORING_REGISTER_RING_FDS)');
    return what;
  }

  /** Whether the task that has the ring has registered any ring with its number (`registered_rings`). */
  #hasRegisteredNumber(): boolean {
    const { task, fd } = this.#file;
    const at = this.#types.offsetOf('task_struct', 'io_uring');
    const rings = this.#types.offsetOf('io_uring_task', 'registered_rings');
    if (at === undefined || rings === undefined) throw new Unknown();
    const address = taskAddress(task.pid, fd);
    if (address === undefined) throw new Unknown();
    const [own = 0n] = this.#words(address + BigInt(at), 1);
    return own !== 0n && this.#words(own + BigInt(rings), IO_RINGFD_REG_MAX).some((file) => file !== 0n);
  }

  /** The kernel shows them as `    0: 0x7f0012340000/4096`; an empty place as 0/0 or `<none>`. */
  #buffers(): RegisteredBuffer[] {
    const from = this.#lines.findIndex((line) => line.startsWith('UserBufs:'));
    const count = Number(this.#lines[from]?.split('\t')[1] ?? 0);
    return this.#lines.slice(from + 1, from + 1 + count).map((line) => {
      const shown = /^\s*\d+: 0x([0-9a-f]+)\/(\d+)$/.exec(line);
      return shown ? { address: BigInt(`0x${shown[1]}`), length: Number(shown[2]) } : { address: 0n, length: 0 };
    });
  }

  #files(): bigint[] {
    // The low bits are flags (FFS_MASK in io_uring/filetable.h).
    return this.#nodes('file_table').map((node) => this.#inNode(node, 'file_ptr') & ~7n);
  }

  #tag(node: bigint): bigint {
    return this.#inNode(node, 'tag');
  }

  #inNode(node: bigint, member: string): bigint {
    const at = this.#types.offsetOf('io_rsrc_node', member);
    if (at === undefined) throw new Unknown();
    const [word = 0n] = node === 0n ? [] : this.#words(node + BigInt(at), 1);
    return word;
  }

  /** The addresses of what is registered in a table; 0n for an empty place. */
  #nodes(table: 'file_table' | 'buf_table'): bigint[] {
    const at = this.#offset(table, table === 'file_table' ? ['io_file_table', 'data'] : undefined);
    const [nr, nodes] = ['nr', 'nodes'].map((member) => this.#types.offsetOf('io_rsrc_data', member));
    if (nr === undefined || nodes === undefined) throw new Unknown();
    const count = this.#view.getUint32(at + nr, true);
    return count === 0 ? [] : [...this.#words(this.#view.getBigUint64(at + nodes, true), count)];
  }
}

/** `sq_thread_idle` of a ring of ours; undefined if the kernel does not tell. */
export function ownIdleTicks(fd: number): number | undefined {
  const at = kernelTypes()?.offsetOf('io_ring_ctx', 'sq_thread_idle');
  const address = privateData(fd);
  const bytes = at === undefined || address === undefined ? undefined : kernelBytes(fd, address + BigInt(at), 4);
  return bytes && new DataView(bytes.buffer).getUint32(0, true);
}
