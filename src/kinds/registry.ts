/** Every kind there is. A new kernel object is a new folder and one line here. */
import { aio } from './aio/kind.ts';
import { cgroups } from './cgroups/kind.ts';
import { clearTid } from './clear-tid/kind.ts';
import { clocks } from './clocks/kind.ts';
import type { FileKind, TaskKind } from './contract.ts';
import { credentials } from './credentials/kind.ts';
import { epollKind } from './epoll/kind.ts';
import { eventfdKind } from './eventfd/kind.ts';
import { fanotifyKind } from './fanotify/kind.ts';
import { fifoKind } from './fifo/kind.ts';
import { fileLocks } from './file-locks/kind.ts';
import { fs } from './fs/kind.ts';
import { identity } from './identity/kind.ts';
import { inotifyKind } from './inotify/kind.ts';
import { itimers } from './itimers/kind.ts';
import { keyrings } from './keyrings/kind.ts';
import { landlock } from './landlock/kind.ts';
import { limits } from './limits/kind.ts';
import { memfd, memfdSeals } from './memfd/kind.ts';
import { memory } from './memory/kind.ts';
import { nsfs } from './nsfs/kind.ts';
import { numa } from './numa/kind.ts';
import { pidfdKind } from './pidfd/kind.ts';
import { pipeKind } from './pipe/kind.ts';
import { posixTimers } from './posix-timers/kind.ts';
import { registers } from './registers/kind.ts';
import { regular } from './regular/kind.ts';
import { restart } from './restart/kind.ts';
import { robustList } from './robust-list/kind.ts';
import { rseq } from './rseq/kind.ts';
import { deadline, scheduling } from './scheduling/kind.ts';
import { seccomp } from './seccomp/kind.ts';
import { signalfdKind } from './signalfd/kind.ts';
import { signals, signalTrap } from './signals/kind.ts';
import { stops } from './stops/kind.ts';
import { sysv } from './sysv/kind.ts';
import { timerfdKind } from './timerfd/kind.ts';
import { sessionTerminal, ttyKind } from './tty/kind.ts';
import { unixSocketKind, unixSocketMakers } from './unix/kind.ts';

/** Kinds of task state, in the order they are captured and, within a phase, rebuilt. */
export const taskKinds: readonly TaskKind[] = [
  cgroups,
  clocks,
  // Segments must be there before memory attaches them.
  sysv,
  sessionTerminal,
  registers,
  restart,
  fs,
  memory,
  numa,
  aio,
  fileLocks,
  robustList,
  clearTid,
  rseq,
  memfdSeals,
  unixSocketMakers,
  itimers,
  posixTimers,
  identity,
  scheduling,
  stops,
  // The limit on queued signals is lowered when they are queued; credentials go when all privileges have been used.
  signals,
  limits,
  seccomp,
  credentials,
  landlock,
  keyrings,
  // The end of a remote program is a trap, so nothing may run after this.
  signalTrap,
  deadline,
];

/** Kinds of open files; the first that recognises a descriptor has it. */
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
  unixSocketKind,
];

export { exitSignalOf } from './identity/kind.ts';
export { finalRegisters } from './registers/kind.ts';
export { resumeEndlessCall } from './restart/endless.ts';
export { remakeInterruptedCall } from './restart/kind.ts';
export { settleCriticalSection } from './rseq/settle.ts';
