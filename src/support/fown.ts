/**
 * What every open file has besides its own nature: status flags, and the owner that is signalled when something
 * happens (F_SETOWN, F_SETSIG; fs/fcntl.c).
 */

import type { RestoreTask } from '../contract/contract.ts';
import type { FownEntry } from '../images/schema/common.ts';
import { F, O } from '../kernel/constants/files.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { arenaAddress, arenaView, syscall, trySyscall } from '../kernel/syscall.ts';

/** The flags fcntl(F_SETFL) can change (`SETFL_MASK` in fs/fcntl.c), without O_ASYNC, see {@link armAsync}. */
const SETTABLE = O.APPEND | O.NONBLOCK | O.DIRECT | O.NOATIME;

/** The flags of an open file description as images hold them: O_CLOEXEC belongs to the descriptor. */
export function imageFlags(flags: number): number {
  return flags & ~O.CLOEXEC;
}

/** Reads owner and signal of an open file description. `flags` are its F_GETFL. @throws SyscallError */
export function captureOwner(local: number, flags: number): FownEntry {
  const none: FownEntry = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 };
  if (flags & O.PATH) return none; // such a file has no owner to ask for
  const signum = syscall('fcntl', local, F.GETSIG);
  syscall('fcntl', local, F.GETOWN_EX, arenaAddress);
  const type = arenaView.getInt32(0, true);
  const pid = arenaView.getInt32(4, true);
  if (pid === 0) return { ...none, signum };
  // Whose permission to signal counts is remembered from the day F_SETOWN was called.
  syscall('fcntl', local, F.GETOWNER_UIDS, arenaAddress);
  return { uid: arenaView.getUint32(0, true), euid: arenaView.getUint32(4, true), signum, pid_type: type, pid };
}

/** Gives a file made anew its status flags and its owner, who has to exist by now. @throws SyscallError */
export function setFlagsAndOwner(local: number, flags: number, owner: FownEntry): void {
  const now = syscall('fcntl', local, F.GETFL);
  const wanted = (now & ~SETTABLE) | (flags & SETTABLE);
  if (wanted !== now) syscall('fcntl', local, F.SETFL, wanted);
  restoreOwner(local, owner);
}

/** Sets owner and signal of an open file description. @throws SyscallError */
export function restoreOwner(local: number, owner: FownEntry): void {
  if (owner.signum !== 0) syscall('fcntl', local, F.SETSIG, owner.signum);
  if (owner.pid === 0) return;
  const own = (): void => {
    arenaView.setInt32(0, owner.pid_type, true);
    arenaView.setInt32(4, owner.pid, true);
    syscall('fcntl', local, F.SETOWN_EX, arenaAddress);
  };
  if (owner.uid === 0 && owner.euid === 0) own();
  else asUser(owner.uid, owner.euid, own);
}

/**
 * Works under other real and effective users; the saved one stays, so that there is a way back. Only this thread
 * changes, but the kernel takes `dumpable` from the whole process when users change: it is put back.
 */
function asUser(uid: number, euid: number, work: () => void): void {
  syscall('getresuid', arenaAddress, arenaAddress + 4, arenaAddress + 8);
  const before = [0, 4, 8].map((at) => arenaView.getUint32(at, true)) as [number, number, number];
  const dumpable = syscall('prctl', PR.GET_DUMPABLE);
  syscall('setresuid', uid, euid, -1);
  try {
    work();
  } finally {
    syscall('setresuid', ...before);
    if (dumpable === 1) trySyscall('prctl', PR.SET_DUMPABLE, 1);
  }
}

/**
 * Switches O_ASYNC on where the file had it. Done in the task: the kernel notes the descriptor number of the caller
 * (`fasync_helper()`), and tells it with every signal.
 */
export function armAsync(fd: number, flags: number, task: RestoreTask): void {
  if (flags & O.ASYNC) task.batch.call('fcntl', fd, F.SETFL, flags & (SETTABLE | O.ASYNC));
}
