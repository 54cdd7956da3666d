/** The socket options (SOL_SOCKET) that all families have. */

import type { LocalFd } from '../base/brands.ts';
import type { StasisError } from '../base/errors.ts';
import { decodeText, encodeText } from '../base/text.ts';
import type { Json, OpenFile } from '../contract/contract.ts';
import type { InputOf } from '../images/message.ts';
import type { SkOptsEntry, skOptsEntry } from '../images/schema/sockets.ts';
import { AF, IFNAMSIZ, SO } from '../kernel/constants/sockets.ts';
import { Linger, SockTxtime } from '../kernel/layouts/sockets.ts';
import {
  attachFilter,
  getFilter,
  getNumber,
  getNumberIfAny,
  getOption,
  getOptionIfAny,
  getTime,
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

/** Reads the options as images hold them. Buffer sizes are those the kernel uses: twice what was requested. */
export function captureOptions(local: LocalFd, family: number): InputOf<typeof skOptsEntry> {
  const send = getTime(local, SO.SNDTIMEO);
  const receive = getTime(local, SO.RCVTIMEO);
  const mark = getNumber(local, SO.MARK);
  const bufLock = getNumberIfAny(local, SO.BUF_LOCK);
  const isLocal = family === AF.UNIX || family === AF.NETLINK;
  const switches = SWITCHES.filter(([field]) => isLocal || !OF_LOCAL.includes(field)).map(
    ([field, name]) => [field, getNumber(local, name) !== 0] as const,
  );
  const device = getOption(local, SO.BINDTODEVICE, IFNAMSIZ);
  const linger = Linger.decode(getOption(local, SO.LINGER, Linger.size));
  return {
    so_sndbuf: getNumber(local, SO.SNDBUF),
    so_rcvbuf: getNumber(local, SO.RCVBUF),
    so_snd_tmo_sec: send.sec,
    so_snd_tmo_usec: send.usec,
    so_rcv_tmo_sec: receive.sec,
    so_rcv_tmo_usec: receive.usec,
    reuseaddr: getNumber(local, SO.REUSEADDR) !== 0,
    so_reuseport: getNumber(local, SO.REUSEPORT) !== 0,
    so_priority: getNumber(local, SO.PRIORITY) >>> 0,
    so_rcvlowat: getNumber(local, SO.RCVLOWAT) >>> 0,
    ...(mark === 0 ? {} : { so_mark: mark >>> 0 }),
    ...Object.fromEntries(switches),
    ...(device.length === 0 ? {} : { so_bound_dev: decodeText(device.subarray(0, device.indexOf(0))) }),
    so_filter: [...instructions(getFilter(local))],
    so_oobinline: getNumber(local, SO.OOBINLINE),
    ...(linger.on ? { so_linger: linger.seconds } : {}),
    ...(bufLock === undefined ? {} : { so_buf_lock: bufLock }),
  };
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
  setTime(local, SO.SNDTIMEO, { sec: options.so_snd_tmo_sec, usec: options.so_snd_tmo_usec });
  setTime(local, SO.RCVTIMEO, { sec: options.so_rcv_tmo_sec, usec: options.so_rcv_tmo_usec });
  if (options.so_bound_dev) setOption(local, SO.BINDTODEVICE, encodeText(options.so_bound_dev));
  if (options.so_filter.length > 0) attachFilter(local, filterCode(options.so_filter));
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
    const value = new Uint8Array(new Int32Array([size]).buffer);
    try {
      setOption(local, force, value);
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== ERRNO.EPERM) throw error;
      setOption(local, plain, value);
    }
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

/** The options that differ from their defaults and have no place in CRIU's images, by name; undefined if none does. */
export function captureForgotten(local: LocalFd, family: number): Readonly<Record<string, number>> | undefined {
  const isInet = family === AF.INET || family === AF.INET6;
  const table = family === AF.UNIX ? Object.entries(FORGOTTEN) : ALL_FORGOTTEN;
  let found: Record<string, number> | undefined;
  for (const [key, [name, usual]] of table) {
    // Only sockets of IP use it; others have it with any value.
    if (name === SO.TXREHASH && !isInet) continue;
    const value = getNumberIfAny(local, name);
    if (value !== undefined && value !== usual) found = { ...found, [key]: value };
  }
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
  for (const [key, [name]] of ALL_FORGOTTEN) {
    const value = values[key];
    if (typeof value === 'number') setNumber(local, name, value);
  }
  const { txTimeClock: clock, txTimeFlags: flags } = values;
  if (typeof clock === 'number' && typeof flags === 'number') {
    setOption(local, SO.TXTIME, SockTxtime.encode({ clock, flags }));
  }
}

const ALL_FORGOTTEN = Object.entries({ ...FORGOTTEN_OF_PACKETS, ...FORGOTTEN });
