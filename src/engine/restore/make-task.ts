/** Makes the tasks and threads that kinds get, and rebuilds threads. */
import { savedPid } from '../../base/brands.ts';
import type { RestoreContext, RestoreTask, RestoreThread, Sharing } from '../../contract/contract.ts';
import type { PidPlaces } from '../../images/pid-places.ts';
import { taskKinds } from '../../kinds/registry.ts';
import { Batch } from '../../tracee/batch.ts';
import type { Remote } from '../../tracee/remote.ts';
import type { Seed } from '../../tracee/seed.ts';
import type { HostPids } from './host-pids.ts';
import type { TaskPlan, ThreadPlan } from './plan.ts';

type MutableRestoreTask = { -readonly [K in keyof RestoreTask]: RestoreTask[K] };

/** The task of a new process. */
export function makeTask(
  plan: TaskPlan,
  context: RestoreContext,
  seed: Seed,
  batch: Batch,
  origin: RestoreTask | undefined,
  shares: Sharing,
  isAlone: boolean,
): RestoreTask {
  const { pstree, mm, fs, fds } = plan;
  const { tracee, remote } = seed;
  const part = threadPart(plan, context, remote, batch);
  const task = {
    ...part,
    pid: pstree.pid,
    pstree,
    mm,
    fs,
    fds,
    seed,
    tracee,
    origin,
    shares,
    isAlone,
  } as MutableRestoreTask;
  task.process = task; // a process is also its main thread
  task.threads = [task];
  return task;
}

function threadPart(
  { tid, core, ownState }: ThreadPlan,
  context: RestoreContext,
  remote: Remote,
  batch: Batch,
): Omit<RestoreThread, 'process'> {
  const ref = { pid: tid, comm: core.thread_core?.comm ?? core.tc?.comm };
  return { tid: savedPid(tid), ref, context, core, ownState, tracee: remote.tracee, remote, batch };
}

/** Gives a process its other threads. */
export function addThreads(
  task: RestoreTask,
  plans: readonly ThreadPlan[],
  hosts: HostPids,
  places: PidPlaces | undefined,
): void {
  if (plans.length === 0) return;
  task.batch.flush();
  const remotes = task.seed.threads(plans.map(({ tid }) => places?.of(tid).numbers.toReversed() ?? [tid]));
  const others = plans.map((thread, i): RestoreThread => {
    const remote = remotes[i] as Remote; // as many as were requested
    hosts.note(thread.tid, remote.tracee.pid);
    return { ...threadPart(thread, task.context, remote, new Batch(remote, task.batch)), process: task };
  });
  (task as MutableRestoreTask).threads = [task, ...others];
}

/**
 * Rebuilds a thread that is not the main one, from its first phase to its last. Its last program is only started: while
 * it runs, that of the next thread is made.
 */
export function rebuildThread(thread: RestoreThread): void {
  for (const phase of ['state', 'creds', 'last'] as const) {
    for (const kind of taskKinds) kind.thread?.rebuild?.[phase]?.(thread);
  }
  thread.batch.begin();
}
