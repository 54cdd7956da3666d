/**
 * Threads that have left what the threads of a process have in common (unshare(2), clone(2)). Images have one
 * descriptor table and one working directory for a process. So a thread is carried that has its own ones if they hold
 * the same as those of its process, and leaves them at the restore when the process has them.
 */
import type { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type { DumpThread, RestoreThread, SeenTask, SeenThread, TaskKind } from '../../../contract/contract.ts';
import { KCMP } from '../../../kernel/constants/files.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { unlessGone } from '../../../kernel/proc/tree.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

const APART = new Part(() => require('./apart.ts') as typeof import('./apart.ts'));

/** Namespaces that a single thread can change; for that of mounts it needs a working directory of its own. */
const NAMESPACES = ['net', 'ipc', 'uts', 'cgroup'] as const;

function obstacles({ pid, threads, tree }: SeenTask): StasisError[] {
  const look = ({ tid, ref }: SeenThread): StasisError[] => {
    const own = ([KCMP.FILES, KCMP.FS] as const).filter((type) => trySyscall('kcmp', pid, tid, type, 0, 0) > 0);
    const namespaces = NAMESPACES.filter((name) => namespaceOf(tid, name) !== namespaceOf(pid, name));
    return own.length + namespaces.length === 0 ? [] : APART.load().obstaclesOf(tree, ref, pid, tid, own, namespaces);
  };
  // A thread of a running tree may end at any time.
  return threads.slice(1).flatMap((thread) => (tree.frozen ? look(thread) : (unlessGone(() => look(thread)) ?? [])));
}

function capture({ tid, ownState, process: { tree } }: DumpThread): undefined {
  const own = APART.ifLoaded?.UNSHARED.of(tree).get(tid);
  if (own) ownState.unshared = [...own];
}

function rebuild(thread: RestoreThread): void {
  if (thread.ownState.unshared) APART.load().unshare(thread);
}

/** What single threads have of their own. */
export const unshared: TaskKind = { name: 'unshared', obstacles, thread: { capture, rebuild: { state: rebuild } } };
