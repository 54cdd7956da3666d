/** The numbers that processes of another PID namespace have in ours. */
import { type HostPid, hostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { readProc } from '../kernel/proc/read.ts';
import { parseStat } from '../kernel/proc/stat.ts';
import { parseStatus } from '../kernel/proc/status.ts';
import { childrenOfThread, threadsOf } from '../kernel/proc/tree.ts';

/**
 * The numbers here of children, threads or siblings (CLONE_PARENT) that a process has just made, which are `made` in
 * its own PID namespace. The kernel lists children and threads in the order in which they were made, so those are the
 * last ones.
 * @throws StasisError kind 'gone' if one of them is not there
 */
export function hostPidsOf(maker: HostPid, made: readonly number[]): HostPid[] {
  if (made.length === 0) return [];
  const parent = hostPid(parseStat(readProc(maker, 'stat')).ppid);
  // Those in a namespace further in have more numbers than their maker.
  const level = (parseStatus(readProc(maker, 'status')).nsPid?.length ?? 1) - 1;
  const last = (pids: readonly HostPid[]): readonly HostPid[] => pids.slice(-made.length);
  const candidates = [
    ...last(childrenOfThread(maker, maker)),
    ...last(threadsOf(maker).slice(1)),
    ...last(threadsOf(parent).flatMap((tid) => childrenOfThread(parent, tid))),
  ];
  const byNumber = new Map<number, HostPid>();
  for (const pid of candidates) {
    const inner = parseStatus(readProc(pid, 'status')).nsPid?.[level];
    if (inner !== undefined && pid !== maker && !byNumber.has(inner)) byNumber.set(inner, pid);
  }
  return made.map((number) => {
    const found = byNumber.get(number);
    if (found !== undefined) return found;
    const reason = `it has made process ${number} of its PID namespace, which is not to be found`;
    throw new StasisError({ kind: 'gone', task: { pid: maker }, reason });
  });
}
