/**
 * Open files in messages (SCM_RIGHTS). A file that no task has open is rebuilt without a task, and finished in one that
 * has it for a moment; kinds that need to know more of a task cannot be carried.
 */

import type { OpenFile, SeenTask } from '../../../contract/contract.ts';
import { KCMP, O, S_IF } from '../../../kernel/constants/files.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

/** Files without a type that are whole when they are made, or can be finished in any task that has what they watch. */
const SIMPLE = [
  'socket:[',
  'pipe:[',
  ...['eventfd', 'timerfd', 'signalfd', 'eventpoll'].map((name) => `anon_inode:[${name}]`),
];

/** Major number of the memory devices. */
const MEMORY = 1;

/** Whether a file in a message between tasks of this tree can be carried. */
export function canTravel(file: OpenFile, tasks: readonly SeenTask[]): boolean {
  const type = file.stat.mode & S_IF.MT;
  const isMemory = type === S_IF.CHR && file.stat.rdev >> 20 === MEMORY; // /dev/null and its like
  const isSimple =
    type === S_IF.REG || type === S_IF.DIR || isMemory || SIMPLE.some((start) => file.link.startsWith(start));
  return (
    (isSimple && (file.flags & O.ASYNC) === 0) || tasks.some(({ fds }) => fds.some((other) => isSame(other, file)))
  );
}

function isSame(one: OpenFile, other: OpenFile): boolean {
  if (one.stat.ino !== other.stat.ino || one.stat.dev !== other.stat.dev) return false;
  return trySyscall('kcmp', process.pid, process.pid, KCMP.FILE, one.local, other.local) === 0;
}
