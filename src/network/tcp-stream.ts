/**
 * Reads the state of connections: sequence numbers, windows, options, and both queues.
 *
 * Much of it is told in repair mode only (TCP_REPAIR in net/ipv4/tcp.c), which is state of the socket: a task that has
 * its connection in repair mode can neither send nor receive. So everything from turning it on to turning it off is
 * part of one program that runs detached (tracee/detached.ts): it ends repair mode even if Stasis is killed, and begins
 * with no other connection then. That takes a few microseconds, and a millisecond for some megabytes that wait to be
 * sent, while the kernel takes some 50 to release the tasks of a killed tracer.
 */
import { taskFd } from '../base/brands.ts';
import type { OpenFile } from '../contract/contract.ts';
import type { InputOf } from '../images/message.ts';
import type { tcpStreamEntry } from '../images/schema/sockets.ts';
import { REPAIR, REPAIR_QUEUE, TCP, TCPI_OPT } from '../kernel/constants/inet.ts';
import {
  IPPROTO,
  MSG,
  SIOCINQ,
  SIOCOUTQ,
  SIOCOUTQNSD,
  SO,
  SOL_SOCKET,
  TCP_STATE,
} from '../kernel/constants/sockets.ts';
import { Pins } from '../kernel/ffi.ts';
import { RepairWindow, TcpInfo } from '../kernel/layouts/inet.ts';
import { getNumber, getNumberIfAny } from '../kernel/sockets.ts';
import { arenaAddress, arenaView, SyscallError, syscall } from '../kernel/syscall.ts';
import type { DetachedProcess } from '../tracee/detached.ts';
import type { Program, Ref } from '../tracee/program.ts';
import { isClosedHere } from './tcp-state.ts';

/** A connection as an image has it. */
export interface Stream {
  readonly state: number;
  readonly entry: InputOf<typeof tcpStreamEntry>;
  /** Bytes that are not read yet. */
  readonly inq: Uint8Array;
  /** Bytes that are not acknowledged yet; the last `unsq_len` of them were never sent. */
  readonly outq: Uint8Array;
}

/** Most connections one program reads: each takes up to 26 calls of 1,023. */
export const MOST_AT_ONCE = 39;

/** A socket behind a descriptor of ours. */
type Borrowed = Pick<OpenFile, 'local'>;

/** A connection to be read, with the lengths of its queues as they were just now, the FIN of ours included. */
export interface Sized<F extends Borrowed = Borrowed> {
  readonly file: F;
  readonly inLength: number;
  readonly outLength: number;
}

/** @throws SyscallError */
export function sized<F extends Borrowed>(file: F): Sized<F> {
  const amount = (request: number): number => {
    syscall('ioctl', file.local, request, arenaAddress);
    return arenaView.getInt32(0, true);
  };
  return { file, inLength: amount(SIOCINQ), outLength: amount(SIOCOUTQ) };
}

/**
 * Reads up to {@link MOST_AT_ONCE} connections; undefined for those that have changed meanwhile. The tasks must be
 * frozen. Segments may arrive all the same unless the network is locked.
 * @throws SyscallError
 */
export function readStreams(detached: DetachedProcess, connections: readonly Sized[]): (Stream | undefined)[] {
  // One byte more than there should be in each queue tells if there is.
  // They are written to, so that the kernel has no pages to find while a connection is in repair mode.
  const lengths = connections.map(({ inLength, outLength }) => inLength + outLength + 2);
  const all = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0)).fill(1);
  using pins = new Pins();
  const address = pins.address(all);
  const program = detached.program();
  const words = new Words(program);
  let at = 0;
  const readings = connections.map((sized, i) => {
    program.expect(program.attempt('getppid'), process.pid);
    const from = at;
    at += lengths[i] as number; // one for each connection
    return new Reading(program, words, sized, all.subarray(from, at), address + from);
  });
  detached.run(program);
  return readings.map((reading) => reading.result());
}

/** Numbers in the program that setsockopt(2) reads, and lengths that getsockopt(2) reads. */
class Words {
  readonly #program: Program;
  readonly #known = new Map<number, number>();

  constructor(program: Program) {
    this.#program = program;
  }

  /** The address of an int. */
  int(value: number): number {
    let at = this.#known.get(value);
    if (at === undefined) {
      at = this.#program.data(new Uint8Array(new Int32Array([value]).buffer));
      this.#known.set(value, at);
    }
    return at;
  }
}

/** The calls for one connection, and their results. */
class Reading {
  readonly #program: Program;
  readonly #words: Words;
  readonly #sized: Sized;
  readonly #queues: Uint8Array;
  readonly #on: Ref;
  readonly #info: number;
  readonly #before: readonly number[];
  readonly #after: readonly number[];
  readonly #mss: number;
  readonly #timestamp: number;
  readonly #window: number;
  readonly #windowRef: Ref;
  readonly #sequences: readonly number[];
  readonly #peeks: readonly [Ref | undefined, Ref | undefined];

  constructor(program: Program, words: Words, sized: Sized, queues: Uint8Array, queuesAt: number) {
    this.#program = program;
    this.#words = words;
    this.#sized = sized;
    this.#queues = queues;
    const { local } = sized.file;
    const reuseAddress = getNumber(local, SO.REUSEADDR);
    const offset = getNumberIfAny(local, SO.PEEK_OFF) ?? -1;
    if (offset >= 0) this.#set(SOL_SOCKET, SO.PEEK_OFF, -1);
    const inqPeek = this.#peek(queuesAt, sized.inLength);
    this.#on = this.#set(IPPROTO.TCP, TCP.REPAIR, REPAIR.ON);
    this.#info = program.space(TcpInfo.size);
    this.#get(TCP.INFO, this.#info, TcpInfo.size);
    this.#before = this.#amounts();
    this.#mss = this.#number(TCP.MAXSEG);
    this.#timestamp = this.#number(TCP.TIMESTAMP);
    this.#window = program.space(RepairWindow.size);
    this.#windowRef = this.#get(TCP.REPAIR_WINDOW, this.#window, RepairWindow.size);
    const inSequence = this.#sequence(REPAIR_QUEUE.RECEIVE);
    const outSequence = this.#sequence(REPAIR_QUEUE.SEND);
    this.#sequences = [inSequence, outSequence];
    this.#peeks = [inqPeek, this.#peek(queuesAt + sized.inLength + 1, sized.outLength)];
    this.#after = this.#amounts();
    // A connection that goes on elsewhere must not send the window probe that belongs to the end of repair mode.
    this.#set(IPPROTO.TCP, TCP.REPAIR, REPAIR.OFF_SILENT);
    // Repair mode has a value of its own for it, and its end clears it.
    this.#set(SOL_SOCKET, SO.REUSEADDR, reuseAddress);
    if (offset >= 0) this.#set(SOL_SOCKET, SO.PEEK_OFF, offset);
  }

  #set(level: number, name: number, value: number): Ref {
    return this.#program.attempt('setsockopt', this.#fd, level, name, this.#words.int(value), 4);
  }

  #get(name: number, into: number, size: number): Ref {
    return this.#program.attempt('getsockopt', this.#fd, IPPROTO.TCP, name, into, this.#words.int(size));
  }

  /** The address of a number that is asked for. */
  #number(name: number): number {
    const at = this.#program.space(4);
    this.#get(name, at, 4);
    return at;
  }

  #amounts(): number[] {
    return [SIOCINQ, SIOCOUTQ, SIOCOUTQNSD].map((request) => {
      const at = this.#program.space(4);
      this.#program.attempt('ioctl', this.#fd, request, at);
      return at;
    });
  }

  /** The address of the sequence number of a queue, which the calls from then on are about. */
  #sequence(queue: number): number {
    this.#set(IPPROTO.TCP, TCP.REPAIR_QUEUE, queue);
    return this.#number(TCP.QUEUE_SEQ);
  }

  /** Peeks at a queue: at that for sending in repair mode, else at that of what was received. */
  #peek(at: number, length: number): Ref | undefined {
    if (length === 0) return undefined;
    return this.#program.attempt('recvfrom', this.#fd, at, length + 1, MSG.PEEK | MSG.DONTWAIT, 0, 0);
  }

  /** The child has our descriptors. */
  get #fd(): ReturnType<typeof taskFd> {
    return taskFd(this.#sized.file.local);
  }

  #int(at: number): number {
    return this.#program.view(at, 4).getInt32(0, true);
  }

  /** The connection; undefined if it has changed while it was read. @throws SyscallError */
  result(): Stream | undefined {
    const on = this.#program.result(this.#on);
    if (on < 0) {
      const remedy = 'run Stasis with CAP_NET_ADMIN in the user namespace of the network namespace';
      throw new SyscallError('setsockopt', -on, { resource: 'TCP_REPAIR', remedy });
    }
    const info = TcpInfo.decode(this.#program.bytes(this.#info, TcpInfo.size));
    const { state, options, scales } = info;
    const [inLength = 0, allOut = 0, allUnsent = 0] = this.#before.map((at) => this.#int(at));
    const isSame = this.#after.every((at, i) => this.#int(at) === this.#int(this.#before[i] as number));
    // A connection that was reset may have bytes that nobody will ever get.
    const isOver = state === TCP_STATE.CLOSE;
    const fin = isClosedHere(state) ? 1 : 0;
    const without = (length: number): number => (isOver ? 0 : Math.max(length - fin, 0));
    const outLength = without(allOut);
    const inq = this.#peeked(0, inLength, 0);
    const outq = isOver ? new Uint8Array() : this.#peeked(1, outLength, this.#sized.inLength + 1);
    if (!isSame || !inq || !outq) return undefined;
    const [inSequence = 0, outSequence = 0] = this.#sequences.map((at) => this.#int(at) >>> 0);
    const hasScales = (options & TCPI_OPT.WSCALE) !== 0;
    return {
      state,
      inq,
      outq,
      entry: {
        inq_len: inLength,
        inq_seq: inSequence,
        outq_len: outLength,
        outq_seq: outSequence,
        opt_mask: options,
        snd_wscale: hasScales ? scales & 0xf : 0,
        mss_clamp: this.#int(this.#mss),
        ...(hasScales ? { rcv_wscale: scales >> 4 } : {}),
        ...(options & TCPI_OPT.TIMESTAMPS ? { timestamp: this.#int(this.#timestamp) >>> 0 } : {}),
        unsq_len: without(allUnsent),
        ...this.#windowFields(),
      },
    };
  }

  /** The bytes of a queue; undefined if there are more or fewer than expected. */
  #peeked(which: 0 | 1, length: number, at: number): Uint8Array | undefined {
    const peek = this.#peeks[which];
    const got = peek ? this.#program.result(peek) : 0;
    return got === length ? this.#queues.subarray(at, at + length) : undefined;
  }

  #windowFields(): Partial<InputOf<typeof tcpStreamEntry>> {
    if (this.#program.result(this.#windowRef) < 0) return {};
    const window = RepairWindow.decode(this.#program.bytes(this.#window, RepairWindow.size));
    return {
      snd_wl1: window.sendWl1,
      snd_wnd: window.sendWindow,
      max_window: window.maxWindow,
      rcv_wnd: window.receiveWindow,
      rcv_wup: window.receiveWup,
    };
  }
}
