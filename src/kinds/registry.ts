/** The list of all kinds. A new kernel object needs a new folder and one line here. */

import { Part } from '../base/part.ts';
import type { FileKind, OpenFile, TaskKind, ThreadDoors, TreeDoors } from '../contract/contract.ts';
import { FdTypes } from '../images/schema/files.ts';
import { O, S_IF } from '../kernel/constants/files.ts';
import { AF } from '../kernel/constants/sockets.ts';
import { userDev } from '../kernel/devnum.ts';
import { isInit } from '../kernel/proc/status.ts';
import { segmentFlag } from '../memory/segments.ts';
import { namespaceNamed } from '../namespaces/inside.ts';
import { isRing } from '../support/ring-notes.ts';
import { pipeKind } from './file/pipe/kind.ts';
import { regular } from './file/regular/kind.ts';
import { sessionTerminal } from './file/tty/session.ts';
import { roleOf } from './file/tty/terminal.ts';
import { fileOnDemand, taskOnDemand } from './on-demand.ts';
import { aio } from './task/aio/kind.ts';
import { autogroup } from './task/autogroup/kind.ts';
import { clearTid } from './task/clear-tid/kind.ts';
import { credentials } from './task/credentials/kind.ts';
import { fileLocks } from './task/file-locks/kind.ts';
import { fs } from './task/fs/kind.ts';
import { identity } from './task/identity/kind.ts';
import { itimers } from './task/itimers/kind.ts';
import { keyrings } from './task/keyrings/kind.ts';
import { landlock } from './task/landlock/kind.ts';
import { limits } from './task/limits/kind.ts';
import { futureLocks } from './task/memory/future-locks.ts';
import { memory } from './task/memory/kind.ts';
import { numa } from './task/numa/kind.ts';
import { posixTimers } from './task/posix-timers/kind.ts';
import { registers } from './task/registers/kind.ts';
import { restart } from './task/restart/kind.ts';
import { robustList } from './task/robust-list/kind.ts';
import { rseq } from './task/rseq/kind.ts';
import { deadline, scheduling } from './task/scheduling/kind.ts';
import { seccomp } from './task/seccomp/kind.ts';
import { signals, signalTrap } from './task/signals/kind.ts';
import { stops } from './task/stops/kind.ts';
import { unshared } from './task/unshared/kind.ts';
import { cgroups } from './tree/cgroups/kind.ts';
import { clocks } from './tree/clocks/kind.ts';
import { networkLock, networkLockEnd } from './tree/network-lock/kind.ts';
import { sysv } from './tree/sysv/kind.ts';

// What is loaded when the first file of a kind is met: most programs have files of two or three kinds.
const BPF_MAP = new Part(() => require('./file/bpf-map/kind.ts') as typeof import('./file/bpf-map/kind.ts'));
const EPOLL = new Part(() => require('./file/epoll/kind.ts') as typeof import('./file/epoll/kind.ts'));
const EVENTFD = new Part(() => require('./file/eventfd/kind.ts') as typeof import('./file/eventfd/kind.ts'));
const FANOTIFY = new Part(() => require('./file/fanotify/kind.ts') as typeof import('./file/fanotify/kind.ts'));
const FIFO = new Part(() => require('./file/fifo/kind.ts') as typeof import('./file/fifo/kind.ts'));
const INET = new Part(() => require('./file/inet/kind.ts') as typeof import('./file/inet/kind.ts'));
const INOTIFY = new Part(() => require('./file/inotify/kind.ts') as typeof import('./file/inotify/kind.ts'));
const IO_URING = new Part(() => require('./file/io-uring/kind.ts') as typeof import('./file/io-uring/kind.ts'));
const MEMFD = new Part(() => require('./file/memfd/kind.ts') as typeof import('./file/memfd/kind.ts'));
const NETLINK = new Part(() => require('./file/netlink/kind.ts') as typeof import('./file/netlink/kind.ts'));
const NSFS = new Part(() => require('./file/nsfs/kind.ts') as typeof import('./file/nsfs/kind.ts'));
const PACKET = new Part(() => require('./file/packet/kind.ts') as typeof import('./file/packet/kind.ts'));
const PIDFD = new Part(() => require('./file/pidfd/kind.ts') as typeof import('./file/pidfd/kind.ts'));
const PID_COUNTER = new Part(
  () => require('./task/pid-counter/kind.ts') as typeof import('./task/pid-counter/kind.ts'),
);
const SIGNALFD = new Part(() => require('./file/signalfd/kind.ts') as typeof import('./file/signalfd/kind.ts'));
const TIMERFD = new Part(() => require('./file/timerfd/kind.ts') as typeof import('./file/timerfd/kind.ts'));
const TTY = new Part(() => require('./file/tty/kind.ts') as typeof import('./file/tty/kind.ts'));
const TUN = new Part(() => require('./file/tun/kind.ts') as typeof import('./file/tun/kind.ts'));
const UNIX = new Part(() => require('./file/unix/kind.ts') as typeof import('./file/unix/kind.ts'));

/** Recognises an open file without a path by the name that the kernel has for it. */
const anonymous =
  (name: string) =>
  ({ link }: OpenFile): boolean =>
    link === `anon_inode:${name}`;

/** Recognises a socket by its family. */
const socketOf =
  (...families: readonly number[]) =>
  (file: OpenFile): boolean => {
    const family = file.socketDomain();
    return family !== undefined && families.includes(family);
  };

/** Recognises a special file that is really open, not only by its path. */
const isSpecial = ({ stat, flags }: OpenFile, type: number): boolean =>
  (stat.mode & S_IF.MT) === type && !(flags & O.PATH);

/** The device of /dev/net/tun. */
const TUN_DEVICE = (10 << 20) | 200;

/** The next number of a PID namespace: of its init alone, which is process 1 in images of criu, too. */
const pidCounter: TaskKind = {
  name: 'pid-counter',
  capture: (task, program) => (isInit(task.status) ? PID_COUNTER.load().capturePidCounter(task, program) : undefined),
  rebuild: {
    files: (task) => {
      if (task.pid === 1 || task.ownState.lastPid !== undefined) PID_COUNTER.load().rebuildPidCounter(task);
    },
  },
};

/**
 * Kinds of state, in the order they are captured and, within a phase, rebuilt. Kinds declare where the order matters
 * (`after`), and a test checks it.
 */
export const taskKinds: readonly TaskKind[] = [
  cgroups,
  clocks,
  networkLock,
  sysv,
  sessionTerminal,
  restart,
  registers,
  fs,
  unshared,
  memory,
  futureLocks,
  numa,
  aio,
  fileLocks,
  robustList,
  clearTid,
  rseq,
  taskOnDemand({ name: 'memfd-seals', after: ['memory'] }, MEMFD, ({ memfdSeals }) => memfdSeals),
  taskOnDemand({ name: 'io-uring-tasks' }, IO_URING, ({ ioUringTasks }) => ioUringTasks),
  taskOnDemand({ name: 'unix socket makers' }, UNIX, ({ unixSocketMakers }) => unixSocketMakers),
  itimers,
  posixTimers,
  identity,
  scheduling,
  autogroup,
  stops,
  signals,
  limits,
  seccomp,
  credentials,
  landlock,
  keyrings,
  pidCounter,
  signalTrap,
  deadline,
];

/** Kinds of open files. The first one that recognises a descriptor handles it. */
export const fileKinds: readonly FileKind[] = [
  regular,
  fileOnDemand(
    { name: 'memfd', type: FdTypes.MEMFD, recognises: (file) => segmentFlag(file) !== undefined },
    MEMFD,
    (module) => module.memfd,
  ),
  pipeKind,
  fileOnDemand(
    {
      name: 'fifo',
      type: FdTypes.FIFO,
      recognises: (file) => isSpecial(file, S_IF.IFO) && !file.link.startsWith('pipe:['),
    },
    FIFO,
    (module) => module.fifoKind,
  ),
  fileOnDemand(
    {
      name: 'tty',
      type: FdTypes.TTY,
      recognises: (file) => isSpecial(file, S_IF.CHR) && roleOf(userDev(file.stat.rdev)) !== undefined,
    },
    TTY,
    (module) => module.ttyKind,
  ),
  fileOnDemand(
    { name: 'eventfd', type: FdTypes.EVENTFD, recognises: anonymous('[eventfd]') },
    EVENTFD,
    (module) => module.eventfdKind,
  ),
  fileOnDemand(
    { name: 'epoll', type: FdTypes.EVENTPOLL, recognises: anonymous('[eventpoll]') },
    EPOLL,
    (module) => module.epollKind,
  ),
  fileOnDemand(
    { name: 'signalfd', type: FdTypes.SIGNALFD, recognises: anonymous('[signalfd]') },
    SIGNALFD,
    (module) => module.signalfdKind,
  ),
  fileOnDemand(
    { name: 'timerfd', type: FdTypes.TIMERFD, recognises: anonymous('[timerfd]') },
    TIMERFD,
    (module) => module.timerfdKind,
  ),
  fileOnDemand(
    { name: 'inotify', type: FdTypes.INOTIFY, recognises: anonymous('inotify') },
    INOTIFY,
    (module) => module.inotifyKind,
  ),
  fileOnDemand(
    { name: 'fanotify', type: FdTypes.FANOTIFY, recognises: anonymous('[fanotify]') },
    FANOTIFY,
    (module) => module.fanotifyKind,
  ),
  fileOnDemand(
    { name: 'pidfd', type: FdTypes.PIDFD, recognises: anonymous('[pidfd]') },
    PIDFD,
    (module) => module.pidfdKind,
  ),
  fileOnDemand(
    { name: 'nsfs', type: FdTypes.NS, recognises: ({ link }) => namespaceNamed(link) !== undefined },
    NSFS,
    (module) => module.nsfs,
  ),
  fileOnDemand(
    { name: 'bpf-map', type: FdTypes.BPFMAP, recognises: anonymous('bpf-map') },
    BPF_MAP,
    (module) => module.bpfMapKind,
  ),
  fileOnDemand(
    { name: 'io-uring', type: FdTypes.EXT, recognises: isRing, makesItself: true },
    IO_URING,
    (module) => module.ioUringKind,
  ),
  fileOnDemand(
    {
      name: 'tun',
      type: FdTypes.TUNF,
      recognises: (file) => isSpecial(file, S_IF.CHR) && file.stat.rdev === TUN_DEVICE,
    },
    TUN,
    (module) => module.tunKind,
  ),
  fileOnDemand(
    { name: 'unix socket', type: FdTypes.UNIXSK, recognises: socketOf(AF.UNIX) },
    UNIX,
    (module) => module.unixSocketKind,
  ),
  fileOnDemand(
    {
      name: 'inet socket',
      type: FdTypes.INETSK,
      recognises: (file) => socketOf(AF.INET, AF.INET6)(file) && INET.load().hasProtocol(file),
    },
    INET,
    (module) => module.inetSocketKind,
  ),
  fileOnDemand(
    { name: 'netlink socket', type: FdTypes.NETLINKSK, recognises: socketOf(AF.NETLINK) },
    NETLINK,
    (module) => module.netlinkKind,
  ),
  fileOnDemand(
    { name: 'packet socket', type: FdTypes.PACKETSK, recognises: socketOf(AF.PACKET) },
    PACKET,
    (module) => module.packetKind,
  ),
];

/** The tree doors of all kinds, in the order of the kinds. */
export const treeDoors: readonly TreeDoors[] = [
  ...[...taskKinds, ...fileKinds].flatMap(({ tree }) => tree ?? []),
  networkLockEnd,
];

/** The thread doors of all kinds. */
export const threadDoors: readonly ThreadDoors[] = taskKinds.flatMap(({ thread }) => thread ?? []);
