/** Probes for features of /proc and of fdinfo. */

import { ACCESS, AT, EPOLL_CTL, F, IN, KCMP, LOCK, O, POLL } from '../../kernel/constants/files.ts';
import { SIG, SIGSET_SIZE, signalBit } from '../../kernel/constants/signals.ts';
import { memoryFile } from '../../kernel/files.ts';
import { EpollEvent } from '../../kernel/layouts/files.ts';
import { type FdInfo, parseFdInfo } from '../../kernel/proc/fdinfo.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import {
  arena,
  arenaAddress,
  arenaPath,
  arenaView,
  describeErrno,
  Fd,
  syscall,
  trySyscall,
} from '../../kernel/syscall.ts';
import { type Probe, refusal } from './feature.ts';

const { F_OK, R_OK, W_OK } = ACCESS;

/** Checks access to a file (faccessat(2)): undefined if it is permitted, else the kernel's error. */
function access(path: string, mode: number): string | undefined {
  const result = trySyscall('faccessat', AT.FDCWD, arenaPath(path), mode);
  return result < 0 ? `${path}: ${describeErrno(result)}` : undefined;
}

export const mapFiles: Probe = () => access('/proc/self/map_files', R_OK);
export const nsLastPid: Probe = () => access('/proc/sys/kernel/ns_last_pid', W_OK);
export const posixTimers: Probe = () => access('/proc/self/timers', R_OK);
export const cgroupNamespace: Probe = () => access('/proc/self/ns/cgroup', F_OK);
export const userNamespace: Probe = () => access('/proc/self/ns/user', F_OK);
export const timeNamespace: Probe = () => access('/proc/self/timens_offsets', F_OK);

/** The next ID of System V objects can be set. Probed by root only, as in CRIU. */
export const ipcNextId: Probe = () =>
  process.geteuid?.() === 0 ? access('/proc/sys/kernel/sem_next_id', R_OK | W_OK) : undefined;

/**
 * /proc/PID/stat has all 52 fields; the last ones (since 3.5) hold the addresses of code, data, arguments and
 * environment.
 */
export const procStat: Probe = () => {
  const fields = Buffer.from(readProc('self', 'stat')).toString('latin1').split(') ').at(-1)?.trim().split(' ') ?? [];
  parseStat(readProc('self', 'stat'));
  return fields.length < 50 ? `/proc/PID/stat has ${fields.length + 2} fields of 52` : undefined;
};

export const nsPid: Probe = () =>
  Buffer.from(readProc('self', 'status')).toString('latin1').includes('\nNSpid:')
    ? undefined
    : '/proc/PID/status does not tell the PIDs in inner namespaces';

function fdinfo(fd: Fd): FdInfo {
  return parseFdInfo(readProc('self', `fdinfo/${fd.number}`));
}

function openSelf(): Fd {
  return new Fd(syscall('openat', AT.FDCWD, arenaPath('/proc/self/comm'), O.CLOEXEC));
}

export const mountId: Probe = () => {
  using fd = openSelf();
  return fdinfo(fd).mntId < 0 ? 'fdinfo does not tell the mount' : undefined;
};

export const fdinfoLock: Probe = () => {
  using fd = memoryFile('stasis-check');
  syscall('flock', fd.number, LOCK.SH);
  return fdinfo(fd).locks.length === 0 ? 'fdinfo does not tell the locks' : undefined;
};

export const fileOwner: Probe = () => {
  using fd = openSelf();
  return refusal('fcntl', trySyscall('fcntl', fd.number, F.GETOWNER_UIDS, arenaAddress));
};

/** fdinfo shows the state of descriptors whose state cannot be read otherwise: counters, masks, watches. */
export const fdinfoDetails: Probe = () =>
  fdinfoOfEventfd() ?? fdinfoOfEpoll() ?? fdinfoOfSignalfd() ?? fdinfoOfInotify();

function fdinfoOfEventfd(): string | undefined {
  using fd = new Fd(syscall('eventfd2', 13, O.CLOEXEC));
  const { detail } = fdinfo(fd);
  return detail.kind === 'eventfd' && detail.count === 13n ? undefined : 'fdinfo of an eventfd lacks its count';
}

function fdinfoOfEpoll(): string | undefined {
  using fd = new Fd(syscall('epoll_create1', O.CLOEXEC));
  using watched = new Fd(syscall('eventfd2', 0, O.CLOEXEC));
  watch(fd, watched);
  const { detail } = fdinfo(fd);
  const found = detail.kind === 'epoll' && detail.targets.length === 1 && detail.targets[0]?.tfd === watched.number;
  return found ? undefined : 'fdinfo of an epoll descriptor lacks what it watches';
}

function fdinfoOfSignalfd(): string | undefined {
  const mask = signalBit(SIG.USR1);
  arenaView.setBigUint64(0, mask, true);
  using fd = new Fd(syscall('signalfd4', -1, arenaAddress, SIGSET_SIZE, O.CLOEXEC));
  const { detail } = fdinfo(fd);
  return detail.kind === 'signalfd' && detail.sigmask === mask ? undefined : 'fdinfo of a signalfd lacks its mask';
}

function fdinfoOfInotify(): string | undefined {
  using fd = new Fd(syscall('inotify_init1', O.CLOEXEC));
  const wd = syscall('inotify_add_watch', fd.number, arenaPath('/'), IN.ALL_EVENTS);
  const { detail } = fdinfo(fd);
  const found = detail.kind === 'inotify' && detail.watches.length === 1 && detail.watches[0]?.wd === wd;
  return found ? undefined : 'fdinfo of an inotify descriptor lacks its watches';
}

function watch(epoll: Fd, watched: Fd): void {
  EpollEvent.encodeInto(arena, 0, { events: POLL.IN | POLL.OUT });
  syscall('epoll_ctl', epoll.number, EPOLL_CTL.ADD, watched.number, arenaAddress);
}

/** kcmp can tell which file an epoll instance watches under a descriptor number (KCMP_EPOLL_TFD, since 4.13). */
export const kcmpEpoll: Probe = () => {
  using epoll = new Fd(syscall('epoll_create1', O.CLOEXEC));
  using watched = new Fd(syscall('eventfd2', 0, O.CLOEXEC));
  watch(epoll, watched);
  // struct kcmp_epoll_slot { u32 efd, tfd, toff; }
  [epoll.number, watched.number, 0].forEach((value, i) => {
    arenaView.setUint32(4 * i, value, true);
  });
  const { pid } = process;
  const result = trySyscall('kcmp', pid, pid, KCMP.EPOLL_TFD, watched.number, arenaAddress);
  return result > 0 ? 'kcmp does not find the watched descriptor' : refusal('kcmp', result);
};
