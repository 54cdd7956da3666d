/** Where processes are to have their next children. */
import { StasisError } from '../../base/errors.ts';
import type { SeenTask } from '../../contract/contract.ts';
import { PIDS_FOR_CHILDREN } from './seen.ts';

/** The obstacle that the next children of a process are to be in a PID namespace that is not carried. */
export function childrenObstacle(task: SeenTask): StasisError | undefined {
  const other = PIDS_FOR_CHILDREN.of(task.tree, task.pid);
  if (other === undefined || other === 'new' || other.id !== undefined) return undefined;
  return new StasisError({
    kind: 'unsupported',
    code: 'NAMESPACE_PID_NESTED',
    task: task.ref,
    reason: 'the next children of the process are to be in a PID namespace that no process of the tree is in',
    remedy: 'if its init has ended, no child can be made there any more: end the process',
  });
}
