/** The numbers of processes as those in the PID namespace of a tree's root see them. */
import { type HostPid, hostPid, type SavedPid, savedPid } from '../../base/brands.ts';
import type { PidView } from '../../contract/contract.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';

/**
 * The view from a PID namespace `depth` levels below ours; `known` gives what has been read of a thread. The kernel
 * lists the numbers of a thread from our namespace inwards (`NSpid` in /proc/PID/status).
 */
export function pidView(depth: number, known: (tid: HostPid) => ProcStatus | undefined): PidView {
  const statusOf = (pid: number): ProcStatus | undefined =>
    known(hostPid(pid)) ?? unlessGone(() => parseStatus(readProc(hostPid(pid), 'status')));
  const seen = (numbers: readonly number[] | undefined): SavedPid => savedPid(numbers?.[depth] ?? 0);
  return {
    depth,
    saved: (pid) => (depth === 0 ? savedPid(pid) : seen(statusOf(pid)?.nsPid)),
    groupOf: (pid, group) => (depth === 0 ? savedPid(group) : seen(statusOf(pid)?.nsPgid)),
    sessionOf: (pid, session) => (depth === 0 ? savedPid(session) : seen(statusOf(pid)?.nsSid)),
  };
}
