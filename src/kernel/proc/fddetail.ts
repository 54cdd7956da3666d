/** The lines of fdinfo that depend on the kind of file; each `show_fdinfo` is named at its type. */

import { bigDecimal, bigHex, decimal, hex, malformed, textOf, words } from './common.ts';

/** A file handle as `name_to_handle_at` makes it. */
export interface FileHandle {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** fs/eventfd.c, `eventfd_show_fdinfo()`. */
export interface EventfdDetail {
  readonly kind: 'eventfd';
  readonly count: bigint;
  /** Since 5.2. */
  readonly id: number | undefined;
  /** Since 6.5. */
  readonly semaphore: boolean | undefined;
}

/** One watched file of an epoll instance. `pos`, `ino` and `dev` (kernel encoding, major << 20 | minor) since 4.12. */
export interface EpollTarget {
  readonly tfd: number;
  readonly events: number;
  readonly data: bigint;
  readonly pos: bigint | undefined;
  readonly ino: bigint | undefined;
  readonly sdev: number | undefined;
}

/** fs/eventpoll.c, `ep_show_fdinfo()`. An instance that watches nothing shows no line: it is `{ kind: 'none' }`. */
export interface EpollDetail {
  readonly kind: 'epoll';
  readonly targets: readonly EpollTarget[];
}

/** fs/signalfd.c, `signalfd_show_fdinfo()`. */
export interface SignalfdDetail {
  readonly kind: 'signalfd';
  readonly sigmask: bigint;
}

/** Seconds and nanoseconds. */
export interface TimeValue {
  readonly sec: bigint;
  readonly nsec: bigint;
}

/** fs/timerfd.c, `timerfd_show()`. */
export interface TimerfdDetail {
  readonly kind: 'timerfd';
  readonly clockId: number;
  readonly ticks: bigint;
  /** `TFD_TIMER_*`. */
  readonly settimeFlags: number;
  /** Time left. */
  readonly value: TimeValue;
  readonly interval: TimeValue;
}

/** One watch; `sdev` in the kernel's encoding. The handle is missing where the file system cannot make one. */
export interface InotifyWatch {
  readonly wd: number;
  readonly ino: bigint;
  readonly sdev: number;
  readonly mask: number;
  readonly ignoredMask: number;
  readonly handle: FileHandle | undefined;
}

/** fs/notify/fdinfo.c, `inotify_show_fdinfo()`. An instance without watches shows no line: it is `{ kind: 'none' }`. */
export interface InotifyDetail {
  readonly kind: 'inotify';
  readonly watches: readonly InotifyWatch[];
}

/** A mark on an inode, a mount, a file system, or (since 6.14) a mount namespace. */
export interface FanotifyMark {
  readonly on: 'inode' | 'mount' | 'filesystem' | 'mntns';
  readonly ino: bigint | undefined;
  readonly sdev: number | undefined;
  readonly mntId: number | undefined;
  readonly mntNs: bigint | undefined;
  readonly markFlags: number;
  readonly mask: number;
  readonly ignoredMask: number;
  readonly handle: FileHandle | undefined;
}

/** fs/notify/fdinfo.c, `fanotify_show_fdinfo()`. */
export interface FanotifyDetail {
  readonly kind: 'fanotify';
  /** `FAN_*` flags given to fanotify_init. */
  readonly flags: number;
  /** Open flags of the events. */
  readonly eventFlags: number;
  readonly marks: readonly FanotifyMark[];
}

/** fs/pidfs.c, `pidfd_show_fdinfo()`. */
export interface PidfdDetail {
  readonly kind: 'pidfd';
  /** In the reader's pid namespace; 0 when not visible there, -1 when reaped. */
  readonly pid: number;
  /** From the reader's pid namespace inwards. */
  readonly nsPid: readonly number[];
}

/** drivers/tty/pty.c, `pty_show_fdinfo()`: a pty master. */
export interface PtyDetail {
  readonly kind: 'pty';
  readonly index: number;
}

/** drivers/net/tun.c, `tun_chr_show_fdinfo()`. */
export interface TunDetail {
  readonly kind: 'tun';
  readonly interface: string;
}

/**
 * kernel/bpf/syscall.c, `bpf_map_show_fdinfo()` and others; fs/userfaultfd.c; io_uring/fdinfo.c: files that CRIU dumps
 * or has to refuse by name.
 */
export interface KeyedDetail {
  readonly kind: 'bpfMap' | 'bpfProg' | 'bpfLink' | 'userfaultfd' | 'ioUring' | 'unixSocket' | 'other';
  /** Key to value, for lines `key:\tvalue`. */
  readonly values: ReadonlyMap<string, string>;
}

/** What the file-specific lines say; `none` when there are no such lines. */
export type FdDetail =
  | { readonly kind: 'none' }
  | EventfdDetail
  | EpollDetail
  | SignalfdDetail
  | TimerfdDetail
  | InotifyDetail
  | FanotifyDetail
  | PidfdDetail
  | PtyDetail
  | TunDetail
  | KeyedDetail;

const FILE = '/proc/PID/fdinfo';

/** Parses the lines of fdinfo that are not common to all files. Throws `kernel` for a known kind in another format. */
export function parseFdDetail(lines: readonly string[]): FdDetail {
  const first = lines[0];
  if (first === undefined) return { kind: 'none' };
  if (first.startsWith('tfd:'))
    return { kind: 'epoll', targets: lines.filter((l) => l.startsWith('tfd:')).map(epollTarget) };
  if (first.startsWith('inotify ')) return { kind: 'inotify', watches: lines.map(inotifyWatch) };
  if (first.startsWith('fanotify ')) return fanotify(lines);
  const values = keyValues(lines);
  if (values.has('eventfd-count')) return eventfd(values);
  if (values.has('sigmask')) return { kind: 'signalfd', sigmask: bigHex(values.get('sigmask'), FILE) };
  if (values.has('clockid')) return timerfd(values);
  if (values.has('Pid')) return pidfd(values);
  if (values.has('tty-index')) return { kind: 'pty', index: decimal(values.get('tty-index'), FILE) };
  if (values.has('iff')) return { kind: 'tun', interface: textOf(values.get('iff') ?? '') };
  return { kind: keyedKind(values), values };
}

function keyedKind(values: ReadonlyMap<string, string>): KeyedDetail['kind'] {
  if (values.has('map_type')) return 'bpfMap';
  if (values.has('prog_type')) return 'bpfProg';
  if (values.has('link_type')) return 'bpfLink';
  if (values.has('API')) return 'userfaultfd';
  if (values.has('SqMask')) return 'ioUring';
  return values.has('scm_fds') ? 'unixSocket' : 'other';
}

function keyValues(lines: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) values.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
  return values;
}

/** `a:1 b:2` as a map; blanks may follow a colon (`tfd:        5 events: 19`). */
function fields(line: string): Map<string, string> {
  const out = new Map<string, string>();
  for (const match of line.matchAll(/([a-z_-]+): *([^ ]*)/g)) out.set(match[1] as string, match[2] as string);
  return out;
}

function eventfd(values: ReadonlyMap<string, string>): EventfdDetail {
  const id = values.get('eventfd-id');
  const semaphore = values.get('eventfd-semaphore');
  return {
    kind: 'eventfd',
    count: bigHex(values.get('eventfd-count'), FILE), // %16llx
    id: id === undefined ? undefined : decimal(id, FILE),
    semaphore: semaphore === undefined ? undefined : semaphore !== '0',
  };
}

function epollTarget(line: string): EpollTarget {
  const f = fields(line);
  const pos = f.get('pos');
  const ino = f.get('ino');
  const sdev = f.get('sdev');
  return {
    tfd: decimal(f.get('tfd'), FILE),
    events: hex(f.get('events'), FILE),
    data: bigHex(f.get('data'), FILE),
    pos: pos === undefined ? undefined : bigDecimal(pos, FILE),
    ino: ino === undefined ? undefined : bigHex(ino, FILE),
    sdev: sdev === undefined ? undefined : hex(sdev, FILE),
  };
}

function timerfd(values: ReadonlyMap<string, string>): TimerfdDetail {
  return {
    kind: 'timerfd',
    clockId: decimal(values.get('clockid'), FILE),
    ticks: bigDecimal(values.get('ticks'), FILE),
    settimeFlags: Number.parseInt(values.get('settime flags') ?? '0', 8),
    value: timeValue(values.get('it_value')),
    interval: timeValue(values.get('it_interval')),
  };
}

/** `(sec, nsec)`. */
function timeValue(text: string | undefined): TimeValue {
  const match = /^\((\d+), (\d+)\)$/.exec(text ?? '');
  if (!match) throw malformed(FILE, `not a time: ${text}`);
  return { sec: bigDecimal(match[1], FILE), nsec: bigDecimal(match[2], FILE) };
}

function inotifyWatch(line: string): InotifyWatch {
  const f = fields(line);
  return {
    wd: hex(f.get('wd'), FILE), // %x
    ino: bigHex(f.get('ino'), FILE),
    sdev: hex(f.get('sdev'), FILE),
    mask: hex(f.get('mask'), FILE),
    ignoredMask: hex(f.get('ignored_mask'), FILE),
    handle: fileHandle(f),
  };
}

function fanotify(lines: readonly string[]): FanotifyDetail {
  const [first, ...marks] = lines;
  const f = fields(first ?? '');
  return {
    kind: 'fanotify',
    flags: hex(f.get('flags'), FILE),
    eventFlags: hex(f.get('event-flags'), FILE),
    marks: marks.map(fanotifyMark),
  };
}

function fanotifyMark(line: string): FanotifyMark {
  const f = fields(line);
  const ino = f.get('ino');
  const sdev = f.get('sdev');
  const mntId = f.get('mnt_id');
  const mntNs = f.get('mnt_ns');
  return {
    on: ino !== undefined ? 'inode' : mntId !== undefined ? 'mount' : mntNs !== undefined ? 'mntns' : 'filesystem',
    ino: ino === undefined ? undefined : bigHex(ino, FILE),
    sdev: sdev === undefined ? undefined : hex(sdev, FILE),
    mntId: mntId === undefined ? undefined : hex(mntId, FILE),
    mntNs: mntNs === undefined ? undefined : bigDecimal(mntNs, FILE),
    markFlags: hex(f.get('mflags'), FILE),
    mask: hex(f.get('mask'), FILE),
    ignoredMask: hex(f.get('ignored_mask'), FILE),
    handle: fileHandle(f),
  };
}

/** `fhandle-bytes:c fhandle-type:81 f_handle:…`, the bytes in hexadecimal. */
function fileHandle(f: ReadonlyMap<string, string>): FileHandle | undefined {
  const digits = f.get('f_handle');
  if (digits === undefined) return undefined;
  const bytes = new Uint8Array(Buffer.from(digits, 'hex'));
  if (bytes.length !== hex(f.get('fhandle-bytes'), FILE)) throw malformed(FILE, 'file handle of another length');
  return { type: hex(f.get('fhandle-type'), FILE), bytes };
}

function pidfd(values: ReadonlyMap<string, string>): PidfdDetail {
  const number = (text: string) => decimal(text, FILE);
  return { kind: 'pidfd', pid: number(values.get('Pid') ?? ''), nsPid: words(values.get('NSpid') ?? '').map(number) };
}
