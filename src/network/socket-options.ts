/** The socket options (SOL_SOCKET) that all families have. */

import type { LocalFd } from '../base/brands.ts';
import type { StasisError } from '../base/errors.ts';
import { decodeText, encodeText } from '../base/text.ts';
import type { Json, OpenFile } from '../contract/contract.ts';
import type { InputOf } from '../images/message.ts';
import type { SkOptsEntry, skOptsEntry } from '../images/schema/sockets.ts';
import { AF, IFNAMSIZ, SO, SOL_SOCKET } from '../kernel/constants/sockets.ts';
import { Linger, SockTxtime } from '../kernel/layouts/sockets.ts';
import { Timeval } from '../kernel/layouts/time.ts';
import { batchOf, OptionBatch } from '../kernel/option-batch.ts';
import {
  attachFilter,
  getFilter,
  getOptionIfAny,
  hasOpaqueFilter,
  setLinger,
  setNumber,
  setOption,
  setTime,
  trySetNumber,
} from '../kernel/sockets.ts';
import { ERRNO, SyscallError } from '../kernel/syscall.ts';
import { fileObstacle } from '../support/fdinfo.ts';

/** Half of the largest buffer size, since the kernel doubles what setsockopt(2) is given. */
const LARGE = 0x3fff_ffff;

/** Boolean options that are off by default. */
const SWITCHES = [
  ['so_passcred', SO.PASSCRED],
  ['so_passsec', SO.PASSSEC],
  ['so_dontroute', SO.DONTROUTE],
  ['so_no_check', SO.NO_CHECK],
  ['so_broadcast', SO.BROADCAST],
  ['so_keepalive', SO.KEEPALIVE],
] as const;

/** Options that only families have whose messages carry credentials. */
const OF_LOCAL: readonly string[] = ['so_passcred', 'so_passsec'];

/** Why the options of a socket cannot be carried; undefined if they can. */
export function optionsObstacle(file: OpenFile): StasisError | undefined {
  if (!hasOpaqueFilter(file.local)) return undefined;
  const reason = 'an eBPF program filters what the socket receives, and the kernel does not tell which';
  return fileObstacle(file, 'SOCKET_FILTER_EBPF', reason, 'have the program detach its filter (SO_DETACH_BPF)');
}

/** What {@link captureOptions} reads. */
const CAPTURED = new OptionBatch({
  sndbuf: [SOL_SOCKET, SO.SNDBUF],
  rcvbuf: [SOL_SOCKET, SO.RCVBUF],
  sendTime: [SOL_SOCKET, SO.SNDTIMEO, Timeval.size],
  receiveTime: [SOL_SOCKET, SO.RCVTIMEO, Timeval.size],
  reuseaddr: [SOL_SOCKET, SO.REUSEADDR],
  reuseport: [SOL_SOCKET, SO.REUSEPORT],
  priority: [SOL_SOCKET, SO.PRIORITY],
  rcvlowat: [SOL_SOCKET, SO.RCVLOWAT],
  mark: [SOL_SOCKET, SO.MARK],
  bufLock: [SOL_SOCKET, SO.BUF_LOCK],
  oobinline: [SOL_SOCKET, SO.OOBINLINE],
  device: [SOL_SOCKET, SO.BINDTODEVICE, IFNAMSIZ],
  linger: [SOL_SOCKET, SO.LINGER, Linger.size],
  so_passcred: [SOL_SOCKET, SO.PASSCRED],
  so_passsec: [SOL_SOCKET, SO.PASSSEC],
  so_dontroute: [SOL_SOCKET, SO.DONTROUTE],
  so_no_check: [SOL_SOCKET, SO.NO_CHECK],
  so_broadcast: [SOL_SOCKET, SO.BROADCAST],
  so_keepalive: [SOL_SOCKET, SO.KEEPALIVE],
});

/** Reads the options as images hold them. Buffer sizes are those the kernel uses: twice what was requested. */
export function captureOptions(local: LocalFd, family: number): InputOf<typeof skOptsEntry> {
  const read = CAPTURED.read(local);
  const mark = read.number('mark');
  const bufLock = read.numberIfAny('bufLock');
  const isLocal = family === AF.UNIX || family === AF.NETLINK;
  const options: InputOf<typeof skOptsEntry> = {
    so_sndbuf: read.number('sndbuf'),
    so_rcvbuf: read.number('rcvbuf'),
    so_snd_tmo_sec: read.long('sendTime', 0),
    so_snd_tmo_usec: read.long('sendTime', 1),
    so_rcv_tmo_sec: read.long('receiveTime', 0),
    so_rcv_tmo_usec: read.long('receiveTime', 1),
    reuseaddr: read.number('reuseaddr') !== 0,
    so_reuseport: read.number('reuseport') !== 0,
    so_priority: read.number('priority') >>> 0,
    so_rcvlowat: read.number('rcvlowat') >>> 0,
    so_oobinline: read.number('oobinline'),
  };
  // struct linger: whether it is on, and the seconds.
  const linger = read.int('linger', 0) === 0 ? undefined : read.int('linger', 1);
  if (mark !== 0) options.so_mark = mark >>> 0;
  for (const [field] of SWITCHES) {
    if (isLocal || !OF_LOCAL.includes(field)) options[field] = read.number(field) !== 0;
  }
  if (read.length('device') > 0) {
    const device = read.bytes('device');
    options.so_bound_dev = decodeText(device.subarray(0, device.indexOf(0)));
  }
  const filter = getFilter(local);
  if (filter.length > 0) options.so_filter = [...instructions(filter)];
  if (linger !== undefined) options.so_linger = linger;
  if (bufLock !== undefined) options.so_buf_lock = bufLock;
  return options;
}

/** Sets the options, all but those that depend on addresses (SO_REUSEADDR, SO_REUSEPORT). @throws SyscallError */
export function restoreOptions(local: LocalFd, options: SkOptsEntry): void {
  restoreBuffers(local, options);
  const number = (name: number, value: number | undefined, usual?: number): void => {
    if (value !== undefined && value !== usual) setNumber(local, name, value);
  };
  if (options.so_buf_lock !== undefined) restoreBufferLock(local, options.so_buf_lock);
  number(SO.PRIORITY, options.so_priority, 0);
  number(SO.RCVLOWAT, options.so_rcvlowat, 1);
  number(SO.MARK, options.so_mark, 0);
  for (const [field, name] of SWITCHES) if (options[field]) setNumber(local, name, 1);
  number(SO.OOBINLINE, options.so_oobinline, 0);
  if (options.so_linger !== undefined) setLinger(local, options.so_linger);
  restoreTime(local, SO.SNDTIMEO, options.so_snd_tmo_sec, options.so_snd_tmo_usec);
  restoreTime(local, SO.RCVTIMEO, options.so_rcv_tmo_sec, options.so_rcv_tmo_usec);
  if (options.so_bound_dev) setOption(local, SO.BINDTODEVICE, encodeText(options.so_bound_dev));
  if (options.so_filter.length > 0) attachFilter(local, filterCode(options.so_filter));
}

/** Sets a time limit of a new socket, which has none. */
function restoreTime(local: LocalFd, name: number, sec: bigint, usec: bigint): void {
  if (sec !== 0n || usec !== 0n) setTime(local, name, { sec, usec });
}

/** Sets which buffer sizes the kernel leaves alone. MPTCP tells that, and does not take it. */
function restoreBufferLock(local: LocalFd, value: number): void {
  const result = trySetNumber(local, SO.BUF_LOCK, value);
  if (result < 0 && result !== -ERRNO.EOPNOTSUPP) throw new SyscallError('setsockopt', -result);
}

/** Sets the sizes of the buffers, which {@link restoreOptions} does as well. @throws SyscallError */
export function restoreBuffers(local: LocalFd, options: Pick<SkOptsEntry, 'so_sndbuf' | 'so_rcvbuf'>): void {
  setBuffers(local, options.so_sndbuf / 2, options.so_rcvbuf / 2);
}

/** Enlarges the buffers while queues are filled. {@link restoreOptions} sets their final sizes. */
export function widen(local: LocalFd): void {
  setBuffers(local, LARGE, LARGE);
}

/**
 * Sets buffer sizes: beyond the limits of net.core with CAP_NET_ADMIN (SO_SNDBUFFORCE), otherwise up to these limits.
 */
function setBuffers(local: LocalFd, send: number, receive: number): void {
  for (const [force, plain, size] of [
    [SO.SNDBUFFORCE, SO.SNDBUF, send],
    [SO.RCVBUFFORCE, SO.RCVBUF, receive],
  ] as const) {
    const result = trySetNumber(local, force, size);
    if (result === -ERRNO.EPERM) setNumber(local, plain, size);
    else if (result < 0) throw new SyscallError('setsockopt', -result, { resource: `option ${force}` });
  }
}

/**
 * The image's form of a filter's instructions, the same on all architectures: code, jt, jf, k from the highest bits.
 */
function* instructions(code: Uint8Array): Iterable<bigint> {
  const view = new DataView(code.buffer, code.byteOffset);
  for (let at = 0; at + 8 <= code.length; at += 8) {
    const head = (BigInt(view.getUint16(at, true)) << 16n) | BigInt(view.getUint16(at + 2, false));
    yield (head << 32n) | BigInt(view.getUint32(at + 4, true));
  }
}

function filterCode(words: readonly bigint[]): Uint8Array {
  const code = new Uint8Array(8 * words.length);
  const view = new DataView(code.buffer);
  words.forEach((word, i) => {
    view.setUint16(8 * i, Number(word >> 48n), true);
    view.setUint16(8 * i + 2, Number((word >> 32n) & 0xffffn), false);
    view.setUint32(8 * i + 4, Number(word & 0xffff_ffffn), true);
  });
  return code;
}

/** Options that CRIU's images have no place for, and their default values. */
const FORGOTTEN = {
  peekOff: [SO.PEEK_OFF, -1],
  timestamp: [SO.TIMESTAMP, 0],
  timestampNs: [SO.TIMESTAMPNS, 0],
  timestampNew: [SO.TIMESTAMP_NEW, 0],
  timestampNsNew: [SO.TIMESTAMPNS_NEW, 0],
  rxqOvfl: [SO.RXQ_OVFL, 0],
  selectErrQueue: [SO.SELECT_ERR_QUEUE, 0],
  rcvMark: [SO.RCVMARK, 0],
  rcvPriority: [SO.RCVPRIORITY, 0],
  lockFilter: [SO.LOCK_FILTER, 0],
  passPidfd: [SO.PASSPIDFD, 0],
  passRights: [SO.PASSRIGHTS, 1],
} as const;

/** The same of sockets whose packets pass network devices, which those of unix do not. */
const FORGOTTEN_OF_PACKETS = {
  wifiStatus: [SO.WIFI_STATUS, 0],
  noFcs: [SO.NOFCS, 0],
  busyPoll: [SO.BUSY_POLL, 0],
  maxPacingRate: [SO.MAX_PACING_RATE, -1],
  zeroCopy: [SO.ZEROCOPY, 0],
  preferBusyPoll: [SO.PREFER_BUSY_POLL, 0],
  busyPollBudget: [SO.BUSY_POLL_BUDGET, 0],
  reserveMem: [SO.RESERVE_MEM, 0],
  txRehash: [SO.TXREHASH, 1],
  timestamping: [SO.TIMESTAMPING, 0],
  timestampingNew: [SO.TIMESTAMPING_NEW, 0],
} as const;

function readForgotten(local: LocalFd, family: number): Record<string, number> | undefined {
  if (family === AF.UNIX) return OF_UNIX.read(local).unusual(FORGOTTEN);
  // SO_TXREHASH is used by sockets of IP only; others have it with any value.
  if (family !== AF.INET && family !== AF.INET6) return OF_OTHERS.read(local).unusual(WITHOUT_REHASH);
  return OF_INET.read(local).unusual(ALL_FORGOTTEN);
}

/** The options that differ from their defaults and have no place in CRIU's images, by name; undefined if none does. */
export function captureForgotten(local: LocalFd, family: number): Readonly<Record<string, number>> | undefined {
  const isInet = family === AF.INET || family === AF.INET6;
  let found = readForgotten(local, family);
  // The old form of an option is told of its new one too.
  if (found?.timestampingNew) delete found.timestamping;
  const time = isInet ? getOptionIfAny(local, SO.TXTIME, SockTxtime.size) : undefined;
  const { clock, flags } = SockTxtime.decode(time ?? new Uint8Array(SockTxtime.size));
  if (clock !== 0 || flags !== 0) found = { ...found, txTimeClock: clock, txTimeFlags: flags };
  return found;
}

/**
 * Sets the options that {@link captureForgotten} found. Called after all other options, since a locked filter cannot be
 * changed.
 */
export function restoreForgotten(local: LocalFd, noted: Json | undefined): void {
  if (noted === null || typeof noted !== 'object' || Array.isArray(noted)) return;
  const values = noted as { readonly [key: string]: Json };
  for (const [key, [name]] of Object.entries(ALL_FORGOTTEN)) {
    const value = values[key];
    if (typeof value === 'number') setNumber(local, name, value);
  }
  const { txTimeClock: clock, txTimeFlags: flags } = values;
  if (typeof clock === 'number' && typeof flags === 'number') {
    setOption(local, SO.TXTIME, SockTxtime.encode({ clock, flags }));
  }
}

const ALL_FORGOTTEN = { ...FORGOTTEN_OF_PACKETS, ...FORGOTTEN };
const { txRehash: _, ...WITHOUT_REHASH } = ALL_FORGOTTEN;
const OF_UNIX = batchOf(SOL_SOCKET, FORGOTTEN);
const OF_INET = batchOf(SOL_SOCKET, ALL_FORGOTTEN);
const OF_OTHERS = batchOf(SOL_SOCKET, WITHOUT_REHASH);
