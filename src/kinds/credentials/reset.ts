/** What a change of credentials resets: whether the task may be dumped and traced, and its parent's death signal. */
import { logWarn } from '../../base/log.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import type { RestoreTask } from '../contract.ts';

/** Set by the kernel alone: dumpable for root only (fs.suid_dumpable = 2). */
const ROOT_ONLY = 2;

/** dumpable and pdeath_sig. */
export function rebuildReset(task: RestoreTask): void {
  rebuildDumpable(task);
  const signal = task.core.thread_core?.pdeath_sig;
  if (!signal) return;
  if (task.tree.ppid === 0) {
    logWarn(
      'credentials',
      `task ${task.pid}: its parent is now Stasis or whoever started it, whose end sends it signal ${signal}`,
    );
  }
  task.batch.call('prctl', PR.SET_PDEATHSIG, signal, 0, 0, 0);
}

function rebuildDumpable(task: RestoreTask): void {
  const { dumpable } = task.mm;
  if (dumpable === undefined) return;
  const { batch } = task;
  if (dumpable !== ROOT_ONLY) {
    batch.call('prctl', PR.SET_DUMPABLE, dumpable, 0, 0, 0);
    return;
  }
  let is = 0;
  const asked = batch.reserve(1).attempt('prctl', PR.GET_DUMPABLE, 0, 0, 0, 0);
  batch.after((program) => {
    is = program.result(asked);
  });
  batch.flush();
  if (is === ROOT_ONLY) return;
  logWarn('credentials', `task ${task.pid}: dumpable was ${ROOT_ONLY}, which no process can set; it is 0 now`);
  batch.call('prctl', PR.SET_DUMPABLE, 0, 0, 0, 0);
}
