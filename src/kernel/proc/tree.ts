/** Threads and children of running processes. Both change at any time; a process that has ended has none. */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { PF } from '../constants/tasks.ts';
import { namesIn } from '../files.ts';
import { ERRNO, SyscallError } from '../syscall.ts';
import { readProc, readProcIfAny } from './read.ts';
import { type ProcStat, parseStat } from './stat.ts';
import { parseChildren } from './values.ts';

/** The process IDs of all processes there are, zombies among them. */
export function allProcesses(): HostPid[] {
  return namesIn('/proc')
    .filter((name) => {
      const first = name.charCodeAt(0);
      return first >= 0x31 && first <= 0x39; // a number
    })
    .map((name) => hostPid(Number(name)));
}

/** The thread ids of a process, in the kernel's order: the main thread first. None if it is gone. */
export function threadsOf(pid: HostPid): HostPid[] {
  return (unlessGone(() => namesIn(`/proc/${pid}/task`)) ?? []).map((name) => hostPid(Number(name)));
}

/**
 * Whether a thread is one of the kernel inside a process (PF_USER_WORKER in include/linux/sched.h): io_uring makes such
 * threads, /proc lists them, and nobody may trace them (ptrace_attach() in kernel/ptrace.c).
 */
export function isUserWorker(tid: HostPid): boolean {
  const bytes = unlessGone(() => readProcIfAny(tid, 'stat'));
  return bytes !== undefined && isWorker(parseStat(bytes));
}

/** The same, of a thread whose stat is known. */
export function isWorker({ flags }: Pick<ProcStat, 'flags'>): boolean {
  return (flags & (PF.USER_WORKER | PF.IO_WORKER)) !== 0;
}

/**
 * The child processes of a thread (`/proc/PID/task/TID/children`), those reparented to it included; none if it is gone.
 */
export function childrenOfThread(pid: HostPid, tid: HostPid): HostPid[] {
  const bytes = unlessGone(() => readProcIfAny(pid, `task/${tid}/children`));
  return bytes && bytes.length > 0 ? parseChildren(bytes).map(hostPid) : [];
}

/** Stands for the parent of a root. */
export const NOBODY = hostPid(0);

/** A process of a tree. */
export interface Member {
  readonly pid: HostPid;
  /** {@link NOBODY} for the root. */
  readonly parent: HostPid;
  readonly tids: readonly HostPid[];
}

/**
 * A process and all its descendants, parents before children, children in the kernel's order. If the tree runs, the
 * result may be outdated at once.
 */
export function membersOf(root: HostPid): Member[] {
  const members: Member[] = [];
  const seen = new Set<number>();
  const todo: [pid: HostPid, parent: HostPid][] = [[root, NOBODY]];
  for (let next = todo.pop(); next; next = todo.pop()) {
    const [pid, parent] = next;
    if (seen.has(pid)) continue;
    seen.add(pid);
    const tids = threadsOf(pid);
    if (tids.length === 0) continue;
    members.push({ pid, parent, tids });
    for (const child of childrenOf(pid, tids).reverse()) todo.push([child, pid]);
  }
  return members;
}

/** The children of some threads of a process. */
export function childrenOf(pid: HostPid, tids: readonly HostPid[]): HostPid[] {
  return tids.flatMap((tid) => childrenOfThread(pid, tid));
}

/**
 * What `look` answers, or nothing if something was not there. For looks at one thing; what collects several asks
 * {@link hasEnded} whether it is the task that is gone.
 */
export function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (tellsOfNothing(error)) return undefined;
    throw error;
  }
}

/** Whether an error says that what was looked at is not there: a task, or a file of it. */
export function tellsOfNothing(error: unknown): boolean {
  if (error instanceof SyscallError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ESRCH)) return true;
  return error instanceof StasisError && error.kind === 'gone';
}

/**
 * Whether a thread has ended: it is gone, dead, or, if the start time is given that it was seen with, another one has
 * its number.
 */
export function hasEnded(tid: HostPid, startTime?: ProcStat['starttime']): boolean {
  const stat = unlessGone(() => parseStat(readProc(tid, `task/${tid}/stat`)));
  if (!stat || stat.state === 'Z' || stat.state === 'X') return true;
  return startTime !== undefined && stat.starttime !== startTime;
}
