/** `check -t PID`: the preflight of a dump alone. The process is not touched. */
import type { HostPid } from '../../base/brands.ts';
import type { StasisError, TaskRef } from '../../base/errors.ts';
import type { Notice } from '../../base/notice.ts';
import type { CarryOptions } from '../../contract/contract.ts';
import { requirePageSize } from '../../kernel/page-size.ts';
import { inspectRunning, noticesOf } from '../dump/preflight.ts';

/** The result of a preflight. */
export interface TaskReport {
  readonly task: TaskRef;
  /** The number of living processes in the tree. */
  readonly processes: number;
  readonly obstacles: readonly StasisError[];
  /** State that can be saved but will change. */
  readonly notices: readonly Notice[];
}

/** Examines a process tree from outside. @throws StasisError if it does not exist or may not be examined */
export function examineTask(pid: HostPid, carry: CarryOptions): TaskReport {
  requirePageSize();
  return inspectRunning(pid, carry, (seen, obstacles) => {
    const { root, tasks } = seen;
    return { task: root.ref, processes: tasks.length, obstacles, notices: noticesOf(seen) };
  });
}
