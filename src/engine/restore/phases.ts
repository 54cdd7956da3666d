/** The phases of a restore, in which the kinds rebuild their state. */
import type { Phase, RestoreTask } from '../../contract/contract.ts';
import { taskKinds } from '../../kinds/registry.ts';

/** Runs one phase of a task and waits for its end. */
export function runPhase(task: RestoreTask, phase: Phase): void {
  addPhase(task, phase);
  task.batch.flush();
}

/** Runs one phase of a task, but only starts the last program of it: {@link Batch.begin}. */
export function beginPhase(task: RestoreTask, phase: Phase): void {
  addPhase(task, phase);
  task.batch.begin();
}

/** Adds the calls of one phase, the last of which run only with those that come next. */
export function addPhase(task: RestoreTask, phase: Phase): void {
  for (const kind of taskKinds) {
    kind.rebuild?.[phase]?.(task);
    if (phase === 'state' || phase === 'creds' || phase === 'last') kind.thread?.rebuild?.[phase]?.(task);
  }
}
