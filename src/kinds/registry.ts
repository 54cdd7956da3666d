/** The list of all kinds. A new kernel object needs a new folder and one line here. */

import type { FileKind, TaskKind, ThreadDoors, TreeDoors } from '../contract/contract.ts';
import { bpfMapKind } from './file/bpf-map/kind.ts';
import { epollKind } from './file/epoll/kind.ts';
import { eventfdKind } from './file/eventfd/kind.ts';
import { fanotifyKind } from './file/fanotify/kind.ts';
import { fifoKind } from './file/fifo/kind.ts';
import { inetSocketKind } from './file/inet/kind.ts';
import { inotifyKind } from './file/inotify/kind.ts';
import { ioUringKind, ioUringTasks } from './file/io-uring/kind.ts';
import { memfd, memfdSeals } from './file/memfd/kind.ts';
import { netlinkKind } from './file/netlink/kind.ts';
import { nsfs } from './file/nsfs/kind.ts';
import { packetKind } from './file/packet/kind.ts';
import { pidfdKind } from './file/pidfd/kind.ts';
import { pipeKind } from './file/pipe/kind.ts';
import { regular } from './file/regular/kind.ts';
import { signalfdKind } from './file/signalfd/kind.ts';
import { timerfdKind } from './file/timerfd/kind.ts';
import { sessionTerminal, ttyKind } from './file/tty/kind.ts';
import { tunKind } from './file/tun/kind.ts';
import { unixSocketKind, unixSocketMakers } from './file/unix/kind.ts';
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
import { cgroups } from './tree/cgroups/kind.ts';
import { clocks } from './tree/clocks/kind.ts';
import { networkLock, networkLockEnd } from './tree/network-lock/kind.ts';
import { sysv } from './tree/sysv/kind.ts';

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
  memory,
  futureLocks,
  numa,
  aio,
  fileLocks,
  robustList,
  clearTid,
  rseq,
  memfdSeals,
  ioUringTasks,
  unixSocketMakers,
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
  signalTrap,
  deadline,
];

/** Kinds of open files. The first one that recognises a descriptor handles it. */
export const fileKinds: readonly FileKind[] = [
  regular,
  memfd,
  pipeKind,
  fifoKind,
  ttyKind,
  eventfdKind,
  epollKind,
  signalfdKind,
  timerfdKind,
  inotifyKind,
  fanotifyKind,
  pidfdKind,
  nsfs,
  bpfMapKind,
  ioUringKind,
  tunKind,
  unixSocketKind,
  inetSocketKind,
  netlinkKind,
  packetKind,
];

/** The tree doors of all kinds, in the order of the kinds. */
export const treeDoors: readonly TreeDoors[] = [
  ...[...taskKinds, ...fileKinds].flatMap(({ tree }) => tree ?? []),
  networkLockEnd,
];

/** The thread doors of all kinds. */
export const threadDoors: readonly ThreadDoors[] = taskKinds.flatMap(({ thread }) => thread ?? []);
