/** The preflight alone: what stands in the way of dumping a process, which is not touched. */

import { StasisError, type TaskRef } from '../../base/errors.ts';
import type { Notice } from '../../base/notice.ts';
import type { CarryOptions } from '../../contract/contract.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { parseStatus } from '../../kernel/proc/status.ts';
import { inspectRunning, noticesOf } from '../dump/preflight.ts';

/** The root of a tree, and everything that could not be saved of the tree. */
export interface TaskReport {
  readonly task: TaskRef;
  /** How many living processes there are in the tree. */
  readonly processes: number;
  readonly obstacles: readonly StasisError[];
  /** What can be saved, but will not be as it is. */
  readonly notices: readonly Notice[];
}

/** Looks at a process tree from outside. @throws StasisError when it does not exist or may not be looked at */
export function examineTask(pid: number, carry: CarryOptions): TaskReport {
  requirePageSize();
  requireProcess(pid);
  return inspectRunning(pid, carry, (seen, obstacles) => {
    const { root, tasks } = seen;
    return { task: root.ref, processes: tasks.length, obstacles, notices: noticesOf(seen) };
  });
}

/** @throws StasisError unless this is the PID of a process, and not of nobody or of one of its threads */
function requireProcess(pid: number): void {
  let tgid: number;
  try {
    tgid = parseStatus(readProc(pid, 'status')).tgid;
  } catch (error) {
    if (!(error instanceof StasisError) || error.kind !== 'gone') throw error;
    throw new StasisError({ kind: 'gone', task: { pid }, reason: 'there is no such process', cause: error });
  }
  if (tgid === pid) return;
  const reason = `this is a thread of process ${tgid}`;
  throw new StasisError({ kind: 'usage', task: { pid }, reason, remedy: `name the process: -t ${tgid}` });
}
