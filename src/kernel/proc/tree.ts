/** Threads and children of running processes. Both change at any time; a process that has ended has none. */
import { StasisError } from '../../base/errors.ts';
import { namesIn } from '../files.ts';
import { ERRNO, SyscallError } from '../syscall.ts';
import { readProcIfAny } from './read.ts';
import { parseChildren } from './values.ts';

/** The thread ids of a process, in the kernel's order: the main thread first. None if it is gone. */
export function threadsOf(pid: number): number[] {
  return (unlessGone(() => namesIn(`/proc/${pid}/task`)) ?? []).map(Number);
}

/**
 * The child processes of a thread (`/proc/PID/task/TID/children`), those reparented to it included; none if it is gone.
 */
export function childrenOfThread(pid: number, tid: number): number[] {
  const bytes = unlessGone(() => readProcIfAny(pid, `task/${tid}/children`));
  return bytes && bytes.length > 0 ? parseChildren(bytes) : [];
}

/** A process of a tree. */
export interface Member {
  readonly pid: number;
  /** 0 for the root. */
  readonly parent: number;
  readonly tids: readonly number[];
}

/**
 * A process and all its descendants, parents before children, children in the kernel's order. If the tree runs, the
 * result may be outdated at once.
 */
export function membersOf(root: number): Member[] {
  const members: Member[] = [];
  const seen = new Set<number>();
  const todo: [pid: number, parent: number][] = [[root, 0]];
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
export function childrenOf(pid: number, tids: readonly number[]): number[] {
  return tids.flatMap((tid) => childrenOfThread(pid, tid));
}

/** The result of `look`; undefined if the task has ended meanwhile. */
export function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const gone = error instanceof SyscallError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ESRCH);
    if (gone || (error instanceof StasisError && error.kind === 'gone')) return undefined;
    throw error;
  }
}
