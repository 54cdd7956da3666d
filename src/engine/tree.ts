/** The tree of processes below a root, as /proc tells it. */
import { StasisError } from '../base/errors.ts';
import { namesIn } from '../kernel/files.ts';
import { readProc, readProcIfAny } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { parseChildren } from '../kernel/proc/values.ts';
import { ERRNO, SyscallError } from '../kernel/syscall.ts';

/** A process of a tree. */
export interface TreeMember {
  readonly pid: number;
  /** The PID of its parent in the tree; 0 for the root. */
  readonly parent: number;
  readonly zombie: boolean;
}

/**
 * All processes of a tree, parents before their children. Of one that runs this is a guess: what comes and goes
 * meanwhile may be missed or be gone.
 * @throws StasisError kind 'gone' if there is no root
 */
export function listTree(root: number): TreeMember[] {
  const found: TreeMember[] = [{ pid: root, parent: 0, zombie: isZombie(root) }];
  const known = new Set([root]);
  for (let next = 0; next < found.length; next++) {
    const { pid } = found[next] as TreeMember; // next < length
    for (const child of childrenOf(pid)) {
      const zombie = unlessGone(() => isZombie(child));
      if (zombie === undefined || known.has(child)) continue;
      known.add(child);
      found.push({ pid: child, parent: pid, zombie });
    }
  }
  return found;
}

/** Children of all threads of a process; none if it is gone. */
export function childrenOf(pid: number): number[] {
  const threads = unlessGone(() => namesIn(`/proc/${pid}/task`)) ?? [];
  return threads.flatMap((tid) => {
    const bytes = unlessGone(() => readProcIfAny(pid, `task/${tid}/children`));
    return bytes ? parseChildren(bytes) : [];
  });
}

/** A zombie, or dead already and about to be one. */
function isZombie(pid: number): boolean {
  return /[ZX]/.test(parseStat(readProc(pid, 'stat')).state);
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
