/**
 * Finds the task's descriptor for each target of an epoll instance. The kernel records the number under which a target
 * was added, and keeps it when that number is closed or reused while a duplicate exists.
 */

import type { FileFacts } from '../../../contract/contract.ts';
import { KCMP, S_IF } from '../../../kernel/constants/files.ts';
import type { EpollTarget } from '../../../kernel/proc/fddetail.ts';
import { arenaAddress, arenaView, trySyscall } from '../../../kernel/syscall.ts';

/** A descriptor of the task. */
export interface Candidate {
  readonly fd: number;
  /** If it is missing, the kernel is asked (kcmp(2)). */
  readonly stat?: FileFacts;
}

/** A process, and its descriptor for an epoll instance. */
export interface EpollPlace {
  readonly pid: number;
  readonly fd: number;
}

/**
 * The task's descriptor for each target, in their order; undefined if the task has none any more. The file is then open
 * elsewhere, and it cannot be found out which one it is.
 */
export function resolveTargets(
  pid: number,
  epoll: EpollPlace,
  targets: readonly EpollTarget[],
  candidates: readonly Candidate[],
): (number | undefined)[] {
  if (targets.length === 0) return []; // a fast way, since there may be many empty instances
  const byFd = byNumber(candidates);
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

/** Descriptors by their numbers, worked out once for each list: a task may have many instances and many descriptors. */
const BY_NUMBER = new WeakMap<readonly Candidate[], ReadonlyMap<number, Candidate>>();

function byNumber(candidates: readonly Candidate[]): ReadonlyMap<number, Candidate> {
  let found = BY_NUMBER.get(candidates);
  if (!found) {
    found = new Map(candidates.map((candidate) => [candidate.fd, candidate]));
    BY_NUMBER.set(candidates, found);
  }
  return found;
}

/** Whether a task has a descriptor for each of some numbers. `fds` are all that it has. */
export function hasAll(fds: readonly Candidate[], numbers: readonly number[]): boolean {
  const known = byNumber(fds);
  return numbers.every((number) => known.has(number));
}

/** For each target, the number of targets before it that were added under the same number. */
export function ordersOf(targets: readonly EpollTarget[]): number[] {
  const seen = new Map<number, number>();
  return targets.map(({ tfd }) => {
    const before = seen.get(tfd) ?? 0;
    seen.set(tfd, before + 1);
    return before;
  });
}

/**
 * Whether a candidate is the same socket. A socket has one open file description, so comparing inodes is enough, and
 * faster than kcmp(2), which walks through all targets for each call.
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
function compare(pid: number, fd: number, epoll: EpollPlace, tfd: number, order: number): boolean {
  // struct kcmp_epoll_slot
  arenaView.setUint32(0, epoll.fd, true);
  arenaView.setUint32(4, tfd, true);
  arenaView.setUint32(8, order, true);
  return trySyscall('kcmp', pid, epoll.pid, KCMP.EPOLL_TFD, fd, arenaAddress) === 0;
}
