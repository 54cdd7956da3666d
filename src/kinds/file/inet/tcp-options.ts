/** Options of TCP sockets: those CRIU's images have a place for, and those they lose. */
import type { LocalFd } from '../../../base/brands.ts';
import { decodeText, encodeText } from '../../../base/text.ts';
import type { DumpContext, RestoreContext } from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import type { InputOf } from '../../../images/message.ts';
import type { TcpOptsEntry, tcpOptsEntry } from '../../../images/schema/sockets.ts';
import { TCP } from '../../../kernel/constants/inet.ts';
import { AF, IPPROTO, SO, SOCK } from '../../../kernel/constants/sockets.ts';
import { batchOf, OptionBatch } from '../../../kernel/option-batch.ts';
import {
  getNumber,
  getNumberIfAny,
  getOptionIfAny,
  setNumber,
  setNumberIfAllowed,
  setOption,
} from '../../../kernel/sockets.ts';
import { ERRNO, Fd, SyscallError, syscall } from '../../../kernel/syscall.ts';
import { presentNetworkMark } from '../../../namespaces/inside.ts';
import type { InetNote } from './notes.ts';

const KEPT = [
  ['cork', TCP.CORK],
  ['nodelay', TCP.NODELAY],
  ['keepcnt', TCP.KEEPCNT],
  ['keepidle', TCP.KEEPIDLE],
  ['keepintvl', TCP.KEEPINTVL],
] as const;

const KEPT_BATCH = new OptionBatch(Object.fromEntries(KEPT.map(([field, name]) => [field, [IPPROTO.TCP, name]])));

/** Reads the options CRIU's images have a place for. Those that are zero are left out, as CRIU does. */
export function captureTcpOptions(local: LocalFd): InputOf<typeof tcpOptsEntry> {
  const found: Record<string, number | boolean> = {};
  const read = KEPT_BATCH.read(local);
  for (const [field] of KEPT) {
    const value = read.numberIfAny(field) ?? 0;
    if (value !== 0) found[field] = field === 'cork' || field === 'nodelay' ? true : value;
  }
  return found;
}

/** Sets the options that {@link captureTcpOptions} reads. @throws SyscallError */
export function restoreTcpOptions(local: LocalFd, options: TcpOptsEntry): void {
  for (const [field, name] of KEPT) {
    const value = options[field];
    if (value !== undefined) setNumber(local, name, +value, IPPROTO.TCP);
  }
}

/** Options that CRIU's images have no place for: name in the notes, number, and the value a new socket has. */
const FORGOTTEN = {
  synCount: [TCP.SYNCNT, 6],
  linger2: [TCP.LINGER2, 60],
  deferAccept: [TCP.DEFER_ACCEPT, 0],
  windowClamp: [TCP.WINDOW_CLAMP, 0],
  quickAck: [TCP.QUICKACK, 1],
  thinLinearTimeouts: [TCP.THIN_LINEAR_TIMEOUTS, 0],
  userTimeout: [TCP.USER_TIMEOUT, 0],
  fastOpen: [TCP.FASTOPEN, 0],
  notSentLowAt: [TCP.NOTSENT_LOWAT, 0],
  saveSyn: [TCP.SAVE_SYN, 0],
  fastOpenConnect: [TCP.FASTOPEN_CONNECT, 0],
  fastOpenNoCookie: [TCP.FASTOPEN_NO_COOKIE, 0],
  inq: [TCP.INQ, 0],
  txDelay: [TCP.TX_DELAY, 0],
  rtoMax: [TCP.RTO_MAX_MS, 120_000],
  rtoMin: [TCP.RTO_MIN_US, 200_000],
  delayedAckMax: [TCP.DELACK_MAX_US, 200_000],
} as const;

const FORGOTTEN_BATCH = batchOf(IPPROTO.TCP, FORGOTTEN);

/** What a new socket sends at most in one segment before it knows better; of no use to a connection. */
const USUAL_MSS = 536;

/** The options of {@link FORGOTTEN} and others that differ from those of a new socket; for the note. */
export function captureForgottenTcp(local: LocalFd, wasConnected: boolean, context: DumpContext): InetNote {
  const found = FORGOTTEN_BATCH.read(local).unusual(FORGOTTEN) ?? {};
  if (wasConnected) {
    for (const [key, value] of Object.entries(found)) if (isOfKernel(key, value, local)) delete found[key];
  }
  // Of a connection the kernel tells what it has found out, not what was asked for.
  if (!wasConnected) {
    const mss = getNumberIfAny(local, TCP.MAXSEG, IPPROTO.TCP);
    if (mss !== undefined && mss !== USUAL_MSS) found.maxSegment = mss;
  }
  const congestion = congestionOf(local);
  return {
    ...(Object.keys(found).length > 0 ? { protocol: found } : {}),
    ...(congestion === USUAL_CONGESTION.of(context, presentNetworkMark()) ? {} : { congestion }),
  };
}

/** Whether an option of a connection is something the kernel has found out, and will again, and nobody has set. */
function isOfKernel(key: string, value: number, local: LocalFd): boolean {
  if (key === 'quickAck') return true;
  // The kernel gives windows about half of the buffer, depending on the size of segments (`tcp_win_from_space()`).
  return key === 'windowClamp' && value >= getNumber(local, SO.RCVBUF) / 4;
}

/** Sets the noted options. What this kernel does not know or allow is told. @throws SyscallError for other reasons */
export function restoreForgottenTcp(local: LocalFd, note: InetNote, context: RestoreContext, resource: string): void {
  const { maxSegment, ...others } = note.protocol ?? {};
  if (maxSegment !== undefined) setNumber(local, TCP.MAXSEG, maxSegment, IPPROTO.TCP);
  for (const key in others) {
    const [name] = FORGOTTEN[key as keyof typeof FORGOTTEN] ?? [];
    const value = others[key];
    if (name === undefined || value === undefined) continue;
    if (setNumberIfAllowed(local, name, value, IPPROTO.TCP)) continue;
    context.notice({ resource, reason: `this kernel does not allow its option ${key} = ${value}` });
  }
  if (note.congestion !== undefined) restoreCongestion(local, note.congestion, context, resource);
}

function restoreCongestion(local: LocalFd, name: string, context: RestoreContext, resource: string): void {
  try {
    setOption(local, TCP.CONGESTION, encodeText(name), IPPROTO.TCP);
  } catch (error) {
    if (!(error instanceof SyscallError) || !NO_ALGORITHM.has(error.errno)) throw error;
    const reason = `its congestion control ${name} is not there, so it has the usual one of this machine`;
    context.notice({ resource, reason, remedy: `load the module tcp_${name}` });
  }
}

/** Not there and not to be loaded, or not allowed to those without CAP_NET_ADMIN. */
const NO_ALGORITHM: ReadonlySet<number> = new Set([ERRNO.ENOENT, ERRNO.EPERM]);

/** Size of the name of a congestion control (`TCP_CA_NAME_MAX`). */
const NAME = 16;

function congestionOf(local: LocalFd): string {
  const name = getOptionIfAny(local, TCP.CONGESTION, NAME, IPPROTO.TCP) ?? new Uint8Array();
  const end = name.indexOf(0);
  return decodeText(end < 0 ? name : name.subarray(0, end));
}

/** The congestion control of new sockets, for each network namespace that Stasis has been in. */
const USUAL_CONGESTION = new KeyedSlot((_: DumpContext, _network: number) => {
  using fd = new Fd(syscall('socket', AF.INET, SOCK.STREAM | SOCK.CLOEXEC, 0));
  return congestionOf(fd.number);
});
