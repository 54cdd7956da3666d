/** Threads that have a descriptor table or a working directory of their own. */
import type { HostPid } from '../../../base/brands.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreThread, SeenThread, SeenTree } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { KCMP, O } from '../../../kernel/constants/files.ts';
import { CLONE } from '../../../kernel/constants/tasks.ts';
import { namesIn } from '../../../kernel/files.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { parseFdInfo } from '../../../kernel/proc/fdinfo.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStatus } from '../../../kernel/proc/status.ts';
import { followedStatus } from '../../../kernel/statx.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

/** What a thread can have of its own: a descriptor table; a root, a working directory and an umask. */
type Unshared = 'files' | 'fs';

const FLAGS: Readonly<Record<string, bigint>> = { files: CLONE.FILES, fs: CLONE.FS };

/** What threads have of their own that can be made again, by TIDs; noted when obstacles are looked for. */
export const UNSHARED = new Slot((_: SeenTree) => new Map<number, readonly Unshared[]>());

/** Why a thread cannot be carried that has these of its own: types of kcmp(2), and namespaces. */
export function obstaclesOf(
  tree: SeenTree,
  ref: SeenThread['ref'],
  pid: HostPid,
  tid: HostPid,
  types: readonly number[],
  namespaces: readonly string[],
): StasisError[] {
  const own = types.map((type): Unshared => (type === KCMP.FILES ? 'files' : 'fs'));
  const faults = own.flatMap((what) => {
    const fault = what === 'files' ? files(pid, tid) : fs(pid, tid);
    return fault === undefined
      ? []
      : [`a ${what === 'files' ? 'descriptor table' : 'working directory'} of its own, ${fault}`];
  });
  for (const name of namespaces) faults.push(`a ${name} namespace of its own`);
  if (faults.length === 0) {
    UNSHARED.of(tree).set(tid, own);
    return [];
  }
  const reason = `the thread has left what its process has in common: it has ${faults.join(', and ')}`;
  const resource = `thread of task ${pid}`;
  return [new StasisError({ kind: 'unsupported', code: 'THREAD_APART', task: ref, resource, reason })];
}

/** Has a thread leave what it had of its own at the dump. */
export function unshare({ ownState, batch }: RestoreThread): void {
  const own = ownState.unshared as readonly Unshared[]; // checked when the file was read
  batch.call(
    'unshare',
    own.reduce((flags, what) => flags | (FLAGS[what] ?? 0n), 0n),
  );
}

/** In what the descriptor table of a thread differs; undefined if it does not. */
function files(pid: HostPid, tid: HostPid): string | undefined {
  const own = numbersOf(pid, tid);
  const common = numbersOf(pid, pid);
  for (const fd of new Set([...own, ...common])) {
    const isSame = own.has(fd) && common.has(fd) && trySyscall('kcmp', pid, tid, KCMP.FILE, fd, fd) === 0;
    if (!isSame) return `which differs in descriptor ${fd}`;
    const [mine, theirs] = [tid, pid].map((thread) => parseFdInfo(readProc(pid, `task/${thread}/fdinfo/${fd}`)));
    if (((mine?.flags ?? 0) ^ (theirs?.flags ?? 0)) & O.CLOEXEC)
      return `which differs in the flags of descriptor ${fd}`;
    // Such locks belong to the table that they were set by (fl_owner); those of the file itself are in both.
    if (mine?.locks.some(({ kind }) => kind === 'POSIX'))
      return `and has locked a part of the file of descriptor ${fd}`;
  }
  return undefined;
}

function numbersOf(pid: HostPid, tid: HostPid): ReadonlySet<number> {
  return new Set(namesIn(`/proc/${pid}/task/${tid}/fd`).map(Number));
}

/** In what the root, the working directory and the umask of a thread differ; undefined if they do not. */
function fs(pid: HostPid, tid: HostPid): string | undefined {
  if (namespaceOf(tid, 'mnt') !== namespaceOf(pid, 'mnt')) return 'in a mount namespace of its own';
  for (const [name, what] of [['cwd', 'which is another one'] as const, ['root', 'with another root'] as const]) {
    const [mine, theirs] = [tid, pid].map((thread) => followedStatus(`/proc/${pid}/task/${thread}/${name}`));
    const isSame = mine && theirs && mine.ino === theirs.ino && mine.dev === theirs.dev && mine.mntId === theirs.mntId;
    if (!isSame) return what;
  }
  const [mine, theirs] = [tid, pid].map((thread) => parseStatus(readProc(pid, `task/${thread}/status`)).umask);
  return mine === theirs ? undefined : 'with another umask';
}
