/**
 * State that every open file description has: status flags, and the owner that gets a signal when the file becomes
 * ready (F_SETOWN, F_SETSIG; fs/fcntl.c).
 */

import { type HostPid, hostPid, type LocalFd } from '../base/brands.ts';
import type { DumpContext, RestoreContext, RestoreTask, SeenTree } from '../contract/contract.ts';
import { Slot } from '../contract/slots.ts';
import type { FownEntry } from '../images/schema/common.ts';
import { asUser } from '../kernel/act-as.ts';
import { F, F_OWNER, O } from '../kernel/constants/files.ts';
import { duplicate, tryReadLink } from '../kernel/files.ts';
import { arenaAddress, arenaView, ERRNO, type Fd, SyscallError, syscall, trySyscall } from '../kernel/syscall.ts';

/** The flags fcntl(F_SETFL) can change (`SETFL_MASK` in fs/fcntl.c), without O_ASYNC, see {@link armAsync}. */
const SETTABLE = O.APPEND | O.NONBLOCK | O.DIRECT | O.NOATIME;

/** The flags of an open file description as images hold them: O_CLOEXEC belongs to the descriptor. */
export function imageFlags(flags: number): number {
  return flags & ~O.CLOEXEC;
}

/** Reads owner and signal of an open file description. `flags` are its F_GETFL. @throws SyscallError */
export function ownerOf(local: LocalFd, flags: number): FownEntry {
  const none: FownEntry = { uid: 0, euid: 0, signum: 0, pid_type: 0, pid: 0 };
  if (flags & O.PATH) return none; // such a file has no owner to ask for
  const signum = syscall('fcntl', local, F.GETSIG);
  syscall('fcntl', local, F.GETOWN_EX, arenaAddress);
  const type = arenaView.getInt32(0, true);
  const pid = arenaView.getInt32(4, true);
  if (pid === 0) return { ...none, signum };
  // The kernel checks the permission to signal for the user that called F_SETOWN.
  syscall('fcntl', local, F.GETOWNER_UIDS, arenaAddress);
  return { uid: arenaView.getUint32(0, true), euid: arenaView.getUint32(4, true), signum, pid_type: type, pid };
}

/** As {@link ownerOf}, with the owner's number and the users as images hold them. */
export function captureOwner(local: LocalFd, flags: number, { tree }: Pick<DumpContext, 'tree'>): FownEntry {
  const owner = ownerOf(local, flags);
  if (owner.pid === 0) return owner;
  const { pid_type: type, pid, uid, euid } = owner;
  const users = { uid: tree.ids.uidThere(uid), euid: tree.ids.uidThere(euid) };
  if (tree.pids.depth === 0) return { ...owner, ...users };
  const saved = type === F_OWNER.PGRP ? tree.pids.groupOf(memberOf(pid, tree), pid) : tree.pids.saved(pid);
  return { ...owner, ...users, pid: saved };
}

/** A process of the tree that is in a group, or the group's leader. */
function memberOf(group: number, { tasks }: SeenTree): HostPid {
  return tasks.find(({ stat }) => stat.pgrp === group)?.pid ?? hostPid(group);
}

/** Sets the status flags of a restored file, and notes its owner for {@link settleOwners}. @throws SyscallError */
export function setFlagsAndOwner(local: LocalFd, flags: number, owner: FownEntry, context: RestoreContext): void {
  const now = syscall('fcntl', local, F.GETFL);
  const wanted = (now & ~SETTABLE) | (flags & SETTABLE);
  if (wanted !== now) syscall('fcntl', local, F.SETFL, wanted);
  if (owner.signum !== 0) syscall('fcntl', local, F.SETSIG, owner.signum);
  if (owner.pid === 0) return;
  // A descriptor of its own, for the kind may close the other one before.
  const fd = duplicate(local);
  context.atEnd(() => fd[Symbol.dispose]());
  UNSETTLED.of(context).push({ fd, owner });
}

/** Files whose owners are still to be set. */
const UNSETTLED = new Slot((_: RestoreContext): { readonly fd: Fd; readonly owner: FownEntry }[] => []);

/**
 * Sets the owners of all files restored so far. Threads, processes and groups must be there by now: files may be opened
 * before all tasks are made (the terminal of a session), and the kernel takes no owner that is not there. One outside
 * of the tree may have ended since the dump.
 * @throws SyscallError
 */
export function settleOwners(context: RestoreContext): void {
  for (const { fd, owner } of UNSETTLED.of(context).splice(0)) {
    if (restoreOwner(fd.number, owner, context) === -ERRNO.ESRCH) {
      const whose = `${owner.pid_type === F_OWNER.PGRP ? 'process group' : 'task'} ${owner.pid}`;
      const reason = `the signals of an open file went to ${whose}, which is not there; nobody gets them now`;
      const name = tryReadLink(`/proc/self/fd/${fd.number}`);
      context.notice({ resource: typeof name === 'string' ? name : undefined, reason });
    }
    fd[Symbol.dispose]();
  }
}

/**
 * Sets the owner of an open file description, as the images of `context` name it. Answers 0, or -ESRCH if it is not
 * there.
 */
function restoreOwner(local: LocalFd, owner: FownEntry, context: RestoreContext): number {
  const { pid_type: type, pid, uid, euid } = owner;
  const host = type === F_OWNER.PGRP ? context.hostGroup(pid) : context.hostPid(pid);
  const users = { uid: context.ids.uidHere(uid), euid: context.ids.uidHere(euid) };
  return host === undefined ? -ERRNO.ESRCH : setOwner(local, { ...owner, ...users, pid: host });
}

/** Sets the owner of an open file description. Answers 0, or -ESRCH if it is not there. @throws SyscallError */
export function setOwner(local: LocalFd, owner: FownEntry): number {
  if (owner.pid === 0) return 0;
  const own = (): number => {
    arenaView.setInt32(0, owner.pid_type, true);
    arenaView.setInt32(4, owner.pid, true);
    return trySyscall('fcntl', local, F.SETOWN_EX, arenaAddress);
  };
  const result = owner.uid === 0 && owner.euid === 0 ? own() : asUser(owner.uid, owner.euid, own);
  if (result < 0 && result !== -ERRNO.ESRCH) throw new SyscallError('fcntl', -result);
  return result;
}

/**
 * Sets O_ASYNC if the file had it. The task itself does so, since the kernel records the descriptor number of the
 * caller (`fasync_helper()`) and reports it with every signal.
 */
export function armAsync(fd: number, flags: number, task: RestoreTask): void {
  if (flags & O.ASYNC) task.batch.call('fcntl', fd, F.SETFL, flags & (SETTABLE | O.ASYNC));
}
