/** Session and process group. */
import { StasisError } from '../../base/errors.ts';
import type { RestoreTask, SeenTask, TaskKind } from '../contract.ts';

function obstacles(task: SeenTask): StasisError[] {
  const { stat, options } = task;
  if (stat.session === task.pid || options.shellJob) return [];
  return [
    new StasisError({
      kind: 'unsupported',
      task: task.ref,
      resource: `session ${stat.session}`,
      reason: 'the process is not the leader of its session, so its session cannot be made again',
      remedy: 'give --shell-job, at the dump and at the restore, to let it join the session of whoever restores it',
    }),
  ];
}

function rebuild(task: RestoreTask): void {
  const { tree, batch, context } = task;
  if (tree.sid === tree.pid) {
    batch.call('setsid');
    return;
  }
  if (!context.options.shellJob) {
    throw new StasisError({
      kind: 'usage',
      task: task.ref,
      resource: `session ${tree.sid}`,
      reason: 'the process was part of a session that is not in the images',
      remedy: 'give --shell-job to let it join the session of whoever restores it',
    });
  }
  // A group of its own goes with it into the new session; any other group stays behind, as a shell job's does.
  if (tree.pgid === tree.pid) batch.call('setpgid', 0, 0);
}

/** Session and process group. */
export const session: TaskKind = { name: 'session', obstacles, rebuild: { birth: rebuild } };
