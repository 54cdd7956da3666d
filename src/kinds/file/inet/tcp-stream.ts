/** Reads the state of a connection: sequence numbers, windows, options, and both queues. */
import type { LocalFd } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { OpenFile } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { tcpStreamEntry } from '../../../images/schema/sockets.ts';
import { REPAIR_QUEUE, TCP, TCP_STATE, TCPI_OPT } from '../../../kernel/constants/inet.ts';
import { IPPROTO, MSG, SIOCINQ, SIOCOUTQ, SIOCOUTQNSD } from '../../../kernel/constants/sockets.ts';
import { RepairWindow } from '../../../kernel/layouts/inet.ts';
import { getNumber, getOptionIfAny, setNumber } from '../../../kernel/sockets.ts';
import { arenaAddress, arenaView, SyscallError, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { aboutFile } from '../../../support/fdinfo.ts';
import { isClosedHere, tcpInfo } from './tcp-state.ts';

/** A connection as an image has it. */
export interface Stream {
  readonly state: number;
  readonly entry: InputOf<typeof tcpStreamEntry>;
  /** Bytes that are not read yet. */
  readonly inq: Uint8Array;
  /** Bytes that are not acknowledged yet; the last `unsq_len` of them were never sent. */
  readonly outq: Uint8Array;
}

/** How often a connection that changes while it is read is read again. */
const PATIENCE = 10;

/**
 * Reads a connection that is in repair mode. Segments may arrive meanwhile unless the network is locked, so it is read
 * until nothing has changed.
 * @throws StasisError
 */
export function readStream(file: OpenFile): Stream {
  for (let turn = 0; turn < PATIENCE; turn++) {
    const found = readOnce(file.local);
    if (found) return found;
  }
  throw isChanging(file);
}

/** The error for a connection that does not hold still. */
export function isChanging(file: OpenFile): StasisError {
  const reason = 'the connection changes while it is read';
  return new StasisError({ kind: 'kernel', ...aboutFile(file), reason, remedy: 'lock the network (--network-lock)' });
}

/** The numbers that change with every segment. */
interface Numbers {
  readonly state: number;
  /** The sequence number of the next byte that comes in, and of the next byte that is put into the send queue. */
  readonly inSequence: number;
  readonly outSequence: number;
  /** Lengths of the queues in bytes, without the FIN. */
  readonly inLength: number;
  readonly outLength: number;
  readonly unsent: number;
}

/** Whether a connection that is in repair mode is still as it was read. @throws SyscallError */
export function isUnchanged(local: LocalFd, { state, entry }: Stream): boolean {
  const now = numbersOf(local, tcpInfo(local).state);
  return (
    now.state === state &&
    now.inSequence === entry.inq_seq &&
    now.outSequence === entry.outq_seq &&
    now.inLength === entry.inq_len &&
    now.outLength === entry.outq_len &&
    now.unsent === entry.unsq_len
  );
}

function readOnce(local: LocalFd): Stream | undefined {
  const info = tcpInfo(local);
  const before = numbersOf(local, info.state);
  const inq = peek(local, REPAIR_QUEUE.RECEIVE, before.inLength);
  const outq = peek(local, REPAIR_QUEUE.SEND, before.outLength);
  const window = getOptionIfAny(local, TCP.REPAIR_WINDOW, RepairWindow.size, IPPROTO.TCP);
  const { options, scales } = info;
  const entry = {
    inq_len: before.inLength,
    inq_seq: before.inSequence,
    outq_len: before.outLength,
    outq_seq: before.outSequence,
    opt_mask: options,
    snd_wscale: options & TCPI_OPT.WSCALE ? scales & 0xf : 0,
    mss_clamp: getNumber(local, TCP.MAXSEG, IPPROTO.TCP),
    ...(options & TCPI_OPT.WSCALE ? { rcv_wscale: scales >> 4 } : {}),
    ...(options & TCPI_OPT.TIMESTAMPS ? { timestamp: getNumber(local, TCP.TIMESTAMP, IPPROTO.TCP) >>> 0 } : {}),
    unsq_len: before.unsent,
    ...windowFields(window),
  };
  const after = numbersOf(local, tcpInfo(local).state);
  const isSame = Object.keys(before).every((key) => before[key as keyof Numbers] === after[key as keyof Numbers]);
  return inq && outq && isSame ? { state: info.state, entry, inq, outq } : undefined;
}

function numbersOf(local: LocalFd, state: number): Numbers {
  const inLength = amount(local, SIOCINQ);
  // A connection that was reset may have bytes that nobody will ever get.
  const isOver = state === TCP_STATE.CLOSE;
  const fin = isClosedHere(state) ? 1 : 0;
  const without = (length: number): number => (isOver ? 0 : Math.max(length - fin, 0));
  const outLength = without(amount(local, SIOCOUTQ));
  const unsent = without(amount(local, SIOCOUTQNSD));
  const inSequence = sequence(local, REPAIR_QUEUE.RECEIVE);
  return { state, inSequence, outSequence: sequence(local, REPAIR_QUEUE.SEND), inLength, outLength, unsent };
}

function amount(local: LocalFd, request: number): number {
  syscall('ioctl', local, request, arenaAddress);
  return arenaView.getInt32(0, true);
}

function sequence(local: LocalFd, queue: number): number {
  setNumber(local, TCP.REPAIR_QUEUE, queue, IPPROTO.TCP);
  return getNumber(local, TCP.QUEUE_SEQ, IPPROTO.TCP) >>> 0;
}

/** The bytes of a queue; undefined if there are more or fewer than expected. */
function peek(local: LocalFd, queue: number, length: number): Uint8Array | undefined {
  if (length === 0) return new Uint8Array();
  setNumber(local, TCP.REPAIR_QUEUE, queue, IPPROTO.TCP);
  const bytes = new Uint8Array(length + 1); // one more than there should be
  const got = trySyscall('recvfrom', local, bytes, bytes.length, MSG.PEEK | MSG.DONTWAIT, 0, 0);
  if (got < 0) throw new SyscallError('recvfrom', -got, { resource: 'a queue of a TCP connection' });
  return got === length ? bytes.subarray(0, length) : undefined;
}

function windowFields(window: Uint8Array | undefined): Partial<InputOf<typeof tcpStreamEntry>> {
  if (!window) return {};
  const { sendWl1, sendWindow, maxWindow, receiveWindow, receiveWup } = RepairWindow.decode(window);
  return {
    snd_wl1: sendWl1,
    snd_wnd: sendWindow,
    max_window: maxWindow,
    rcv_wnd: receiveWindow,
    rcv_wup: receiveWup,
  };
}
