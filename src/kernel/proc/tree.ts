/** Threads and children of running processes. Both come and go: what is gone meanwhile has none. */
import { StasisError } from '../../base/errors.ts';
import { namesIn } from '../files.ts';
import { ERRNO, SyscallError } from '../syscall.ts';
import { readProcIfAny } from './read.ts';
import { parseChildren } from './values.ts';

/** The thread ids of a process, in the kernel's order: the main thread first. None if it is gone. */
export function threadsOf(pid: number): number[] {
  return (unlessGone(() => namesIn(`/proc/${pid}/task`)) ?? []).map(Number);
}

/** The processes a thread has made, or was given (`/proc/PID/task/TID/children`); none if it is gone. */
export function childrenOfThread(pid: number, tid: number): number[] {
  const bytes = unlessGone(() => readProcIfAny(pid, `task/${tid}/children`));
  return bytes && bytes.length > 0 ? parseChildren(bytes) : [];
}

/** All threads of a process and of those below it. Of a tree that runs this is a guess. */
export function threadsBelow(root: number): number[] {
  const all: number[] = [];
  const known = new Set([root]);
  for (const pid of known) {
    const tids = threadsOf(pid);
    all.push(...tids);
    for (const tid of tids) for (const child of childrenOfThread(pid, tid)) known.add(child);
  }
  return all;
}

/** What `look` answers, or nothing if the task has gone meanwhile. */
export function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const gone = error instanceof SyscallError && (error.errno === ERRNO.ENOENT || error.errno === ERRNO.ESRCH);
    if (gone || (error instanceof StasisError && error.kind === 'gone')) return undefined;
    throw error;
  }
}
