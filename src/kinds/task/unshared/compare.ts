/** Whether what a thread has of its own holds the same as what its process has. */
import type { HostPid } from '../../../base/brands.ts';
import { KCMP, O } from '../../../kernel/constants/files.ts';
import { namesIn } from '../../../kernel/files.ts';
import { namespaceOf } from '../../../kernel/namespace.ts';
import { parseFdInfo } from '../../../kernel/proc/fdinfo.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { parseStatus } from '../../../kernel/proc/status.ts';
import { followedStatus } from '../../../kernel/statx.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

/** In what the descriptor table of a thread differs; undefined if it does not. */
export function files(pid: HostPid, tid: HostPid): string | undefined {
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
export function fs(pid: HostPid, tid: HostPid): string | undefined {
  if (namespaceOf(tid, 'mnt') !== namespaceOf(pid, 'mnt')) return 'in a mount namespace of its own';
  for (const [name, what] of [['cwd', 'which is another one'] as const, ['root', 'with another root'] as const]) {
    const [mine, theirs] = [tid, pid].map((thread) => followedStatus(`/proc/${pid}/task/${thread}/${name}`));
    const isSame = mine && theirs && mine.ino === theirs.ino && mine.dev === theirs.dev && mine.mntId === theirs.mntId;
    if (!isSame) return what;
  }
  const [mine, theirs] = [tid, pid].map((thread) => parseStatus(readProc(pid, `task/${thread}/status`)).umask);
  return mine === theirs ? undefined : 'with another umask';
}
