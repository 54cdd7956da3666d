/** Finds out why a thread that was interrupted does not stop. */

import { NR } from '../../../arch/syscall-numbers.ts';
import type { HostPid } from '../../../base/brands.ts';
import { StasisError, type TaskRef } from '../../../base/errors.ts';
import { KCMP } from '../../../kernel/constants/files.ts';
import { latin1 } from '../../../kernel/proc/common.ts';
import { readProc, readProcIfAny } from '../../../kernel/proc/read.ts';
import { parseStat } from '../../../kernel/proc/stat.ts';
import { childrenOfThread, NOBODY, unlessGone } from '../../../kernel/proc/tree.ts';
import { parseSyscall } from '../../../kernel/proc/values.ts';
import { trySyscall } from '../../../kernel/syscall.ts';

export type Stall =
  /** It waits uninterruptibly (vfork) until these children have executed a program or ended. */
  | { readonly kind: 'vfork'; readonly task: TaskRef; readonly children: readonly HostPid[] }
  /** It is a dead main thread whose process still has other threads. */
  | { readonly kind: 'dead'; readonly task: TaskRef }
  /** It is in an uninterruptible sleep; `where` is the kernel function. */
  | { readonly kind: 'asleep'; readonly task: TaskRef; readonly where: string }
  /** It waits for a CPU, or has just stopped. */
  | { readonly kind: 'busy'; readonly task: TaskRef };

/** The calls in which a parent can wait for its child: vfork(2), and clone with CLONE_VFORK. */
const VFORKS: readonly number[] = [NR.vfork, NR.clone, NR.clone3];

/** The reason why a thread of process `pid` does not stop. */
export function stallOf(tid: HostPid, pid: HostPid): Stall {
  const stat = unlessGone(() => parseStat(readProc(tid, `task/${tid}/stat`)));
  if (!stat) return { kind: 'busy', task: { pid: tid } };
  const task = { pid: tid, comm: stat.comm };
  if (stat.state === 'Z' || stat.state === 'X') return { kind: 'dead', task };
  if (stat.state !== 'D') return { kind: 'busy', task };
  const children = isInVfork(tid) ? childrenOfThread(pid, tid).filter((child) => shareMemory(child, tid)) : [];
  if (children.length > 0) return { kind: 'vfork', task, children };
  const where = unlessGone(() => readProcIfAny(tid, 'wchan'));
  return { kind: 'asleep', task, where: where ? latin1(where) : '' };
}

function isInVfork(tid: HostPid): boolean {
  const bytes = unlessGone(() => readProcIfAny(tid, 'syscall'));
  const state = bytes && parseSyscall(bytes);
  return state?.kind === 'inside' && VFORKS.includes(state.nr);
}

/** Whether two processes share memory, as a child of vfork does with its parent until it executes a program. */
function shareMemory(one: number, other: HostPid): boolean {
  return trySyscall('kcmp', one, other, KCMP.VM, 0, 0) === 0;
}

/** The error after the timeout. */
export function timeoutError(stalls: readonly Stall[], seconds: number): StasisError {
  const vfork = stalls.find((stall) => stall.kind === 'vfork');
  if (vfork) return inVfork(vfork.task, vfork.children, seconds);
  const asleep = stalls.find((stall) => stall.kind === 'asleep');
  const where = asleep?.where ? ` (${asleep.where})` : '';
  return new StasisError({
    kind: 'conflict',
    code: 'TASK_STALLED',
    task: (asleep ?? stalls[0])?.task,
    reason: `the task did not stop within ${seconds} s${asleep ? `: it is in an uninterruptible sleep${where}` : ''}`,
    remedy: asleep ? 'wait for its disk or network, or give it longer with --timeout' : 'give it longer with --timeout',
  });
}

function inVfork(task: TaskRef, children: readonly HostPid[], seconds: number): StasisError {
  const [child = NOBODY] = children;
  const comm = unlessGone(() => parseStat(readProc(child, 'stat')).comm);
  return new StasisError({
    kind: 'conflict',
    code: 'VFORK_WAIT',
    task,
    resource: `child ${child}${comm === undefined ? '' : ` (${comm})`}`,
    reason: `the task waits in vfork for this child, which has not executed a program within ${seconds} s`,
    remedy: 'wait until it has, or give it longer with --timeout',
  });
}
