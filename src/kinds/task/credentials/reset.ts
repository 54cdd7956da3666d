/**
 * State that a change of credentials resets: `dumpable`, which also decides who may trace the task, and the parent
 * death signal.
 */
import type { RestoreTask, RestoreThread } from '../../../contract/contract.ts';
import { PR, SUID_DUMP_ROOT } from '../../../kernel/constants/prctl.ts';

/** Sets the signal that a thread gets when its parent ends (PR_SET_PDEATHSIG). */
export function rebuildDeathSignal(thread: RestoreThread): void {
  const signal = thread.core.thread_core?.pdeath_sig;
  if (!signal) return;
  if (thread.process.pstree.ppid === 0) {
    // Stasis is about to end, which would send the signal (reparent_leader() in kernel/exit.c). Nobody has ended for
    // the program: it goes on with another parent, of whose end it is not told.
    const reason = thread.context.parentEnds
      ? `its parent is another one now, whose end sends it no signal (parent death signal ${signal} is cleared)`
      : `its parent is now Stasis or whoever started it, whose end sends it signal ${signal}`;
    thread.context.notice({ task: thread.ref, reason });
    if (thread.context.parentEnds) return;
  }
  thread.batch.call('prctl', PR.SET_PDEATHSIG, signal, 0, 0, 0);
}

/** Sets whether the process is dumpable. All threads share this value, so it is set when they are finished. */
export function rebuildDumpable(task: RestoreTask): void {
  const { dumpable } = task.mm;
  if (dumpable === undefined) return;
  const { batch } = task;
  if (dumpable !== SUID_DUMP_ROOT) {
    batch.call('prctl', PR.SET_DUMPABLE, dumpable, 0, 0, 0);
    return;
  }
  let is = 0;
  const asked = batch.reserve(1).attempt('prctl', PR.GET_DUMPABLE, 0, 0, 0, 0);
  batch.after((program) => {
    is = program.result(asked);
  });
  batch.flush();
  if (is === SUID_DUMP_ROOT) return;
  const reason = `dumpable was ${SUID_DUMP_ROOT}, which no process can set; it is 0 now`;
  task.context.notice({ task: task.ref, reason });
  batch.call('prctl', PR.SET_DUMPABLE, 0, 0, 0, 0);
}
