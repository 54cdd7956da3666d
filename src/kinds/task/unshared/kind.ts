/**
 * Threads that have left what the threads of a process have in common (unshare(2), clone(2)). Images have one
 * descriptor table and one working directory for a process. So a thread is carried that has its own ones if they hold
 * the same as those of its process, and leaves them at the restore when the process has them.
 */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import { Part } from '../../../base/part.ts';
import type {
  DumpThread,
  RestoreThread,
  SeenTask,
  SeenThread,
  SeenTree,
  TaskKind,
} from '../../../contract/contract.ts';
import { KeyedSlot } from '../../../contract/slots.ts';
import { KCMP } from '../../../kernel/constants/files.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { unlessGone } from '../../../kernel/proc/tree.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

// Only for such threads.
const COMPARING = new Part(() => require('./compare.ts') as typeof import('./compare.ts'));

/** What a thread can have of its own: a descriptor table; a root, a working directory and an umask. */
type Unshared = 'files' | 'fs';

const FLAGS = { files: CLONE.FILES, fs: CLONE.FS };
const NAMES = { files: 'descriptor table', fs: 'working directory' };

/**
 * Namespaces that a single thread can change. A mount namespace is not among them, since that also needs a working
 * directory of its own, which is found otherwise.
 */
const THREAD_NAMESPACES = ['net', 'ipc', 'uts', 'cgroup'] as const;

/** What of its own a thread has that can be made again, by its TID; noted when obstacles are looked for. */
const UNSHARED = new KeyedSlot((_: SeenTree, _tid: number): Unshared[] => []);

function obstacles({ pid, threads, tree }: SeenTask): StasisError[] {
  return threads.slice(1).flatMap((thread) => {
    const look = (): StasisError[] => apart(pid, thread, UNSHARED.of(tree, thread.tid));
    // A thread of a running tree may end at any time.
    return tree.frozen ? look() : (unlessGone(look) ?? []);
  });
}

/** Why a thread cannot be carried; `carried` gets what it has of its own. */
function apart(pid: HostPid, thread: SeenThread, carried: Unshared[]): StasisError[] {
  const { tid, ref } = thread;
  const differs = (type: number): boolean => trySyscall('kcmp', pid, tid, type, 0, 0) > 0;
  const own: Unshared[] = [
    ...(differs(KCMP.FILES) ? ['files' as const] : []),
    ...(differs(KCMP.FS) ? ['fs' as const] : []),
  ];
  const faults = own.flatMap((what) => {
    const fault = COMPARING.load()[what](pid, tid);
    return fault === undefined ? [] : [`a ${NAMES[what]} of its own, ${fault}`];
  });
  for (const name of THREAD_NAMESPACES) {
    if (namespaceOf(tid, name) !== namespaceOf(pid, name)) faults.push(`a ${name} namespace of its own`);
  }
  carried.push(...own);
  if (faults.length === 0) return [];
  const reason = `the thread has left what its process has in common: it has ${faults.join(', and ')}`;
  const resource = `thread of task ${pid}`;
  return [new StasisError({ kind: 'unsupported', code: 'THREAD_APART', task: ref, resource, reason })];
}

function capture(thread: DumpThread): undefined {
  const own = thread.tid === thread.process.tid ? [] : UNSHARED.of(thread.process.tree, thread.tid);
  if (own.length > 0) thread.ownState.unshared = [...own];
}

function rebuild({ ownState, batch }: RestoreThread): void {
  const own = (ownState.unshared ?? []) as readonly Unshared[];
  if (own.length > 0)
    batch.call(
      'unshare',
      own.reduce((flags, what) => flags | FLAGS[what], 0n),
    );
}

/** What single threads have of their own. */
export const unshared: TaskKind = { name: 'unshared', obstacles, thread: { capture, rebuild: { state: rebuild } } };
