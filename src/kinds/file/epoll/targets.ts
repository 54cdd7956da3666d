/**
 * Which descriptor of the task each target of an epoll instance is. The kernel remembers the number a target was added
 * under, and keeps it when that number was closed or reused while a duplicate lives on.
 */

import type { FileFacts } from '../../../contract/contract.ts';
import { KCMP, S_IF } from '../../../kernel/constants/files.ts';
import type { EpollTarget } from '../../../kernel/proc/fddetail.ts';
import { arenaAddress, arenaView, trySyscall } from '../../../kernel/syscall.ts';

/** A descriptor of the task, as far as it matters here. */
export interface Candidate {
  readonly fd: number;
  /** Without it the kernel is asked. */
  readonly stat?: FileFacts;
}

/**
 * The task's descriptor for each target, in their order; undefined where it has none any more: the file is open for
 * others, and nobody could say which it is.
 */
export function resolveTargets(
  pid: number,
  epoll: number,
  targets: readonly EpollTarget[],
  candidates: readonly Candidate[],
): (number | undefined)[] {
  if (targets.length === 0) return []; // there may be as many instances as descriptors
  const byFd = new Map(candidates.map((candidate) => [candidate.fd, candidate]));
  const orders = ordersOf(targets);
  return targets.map((target, i) => {
    const order = orders[i] ?? 0;
    const namesake = byFd.get(target.tfd);
    if (namesake && order === 0 && isSameSocket(namesake, target)) return target.tfd;
    const isTarget = (fd: number): boolean => compare(pid, fd, epoll, target.tfd, order);
    if (namesake && isTarget(target.tfd)) return target.tfd;
    return candidates.find(({ fd }) => fd !== target.tfd && isTarget(fd))?.fd;
  });
}

/** How many targets before each were added under the same number. */
export function ordersOf(targets: readonly EpollTarget[]): number[] {
  const seen = new Map<number, number>();
  return targets.map(({ tfd }) => {
    const before = seen.get(tfd) ?? 0;
    seen.set(tfd, before + 1);
    return before;
  });
}

/**
 * A socket is open once only, so its inode tells enough. The kernel's comparison walks through all targets each time.
 */
function isSameSocket({ stat }: Candidate, target: EpollTarget): boolean {
  return (
    stat !== undefined &&
    (stat.mode & S_IF.MT) === S_IF.SOCK &&
    target.ino === BigInt(stat.ino) &&
    target.sdev === stat.dev
  );
}

/**
 * kcmp(2): whether `fd` of the task is the target an epoll instance has under the number `tfd`, the `order`th of them.
 */
function compare(pid: number, fd: number, epoll: number, tfd: number, order: number): boolean {
  // struct kcmp_epoll_slot
  arenaView.setUint32(0, epoll, true);
  arenaView.setUint32(4, tfd, true);
  arenaView.setUint32(8, order, true);
  return trySyscall('kcmp', pid, pid, KCMP.EPOLL_TFD, fd, arenaAddress) === 0;
}
