/** What a change of credentials resets: whether the task may be dumped and traced, and its parent's death signal. */
import type { RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { PR } from '../../../kernel/constants/prctl.ts';

/** Set by the kernel alone: dumpable for root only (fs.suid_dumpable = 2). */
const ROOT_ONLY = 2;

/** The signal a thread gets when its parent ends. */
export function rebuildDeathSignal(thread: RestoreThread): void {
  const signal = thread.core.thread_core?.pdeath_sig;
  if (!signal) return;
  if (thread.process.tree.ppid === 0) {
    const reason = `its parent is now Stasis or whoever started it, whose end sends it signal ${signal}`;
    thread.context.notice({ task: thread.ref, reason });
  }
  thread.batch.call('prctl', PR.SET_PDEATHSIG, signal, 0, 0, 0);
}

/** Whether the process may be dumped; it is one word for all of its threads, so they must be finished. */
export function rebuildDumpable(task: RestoreTask): void {
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
  const reason = `dumpable was ${ROOT_ONLY}, which no process can set; it is 0 now`;
  task.context.notice({ task: task.ref, reason });
  batch.call('prctl', PR.SET_DUMPABLE, 0, 0, 0, 0);
}
