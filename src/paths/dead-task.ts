/** Processes that stand for tasks that were dead at the dump, while files of theirs in /proc were still open. */
import type { HostPid } from '../base/brands.ts';
import type { RestoreContext } from '../contract/contract.ts';
import { KeyedSlot } from '../contract/slots.ts';
import { PR } from '../kernel/constants/prctl.ts';
import { CLONE } from '../kernel/constants/tasks.ts';
import { namespaceOf } from '../kernel/namespace.ts';
import { enterNamespace } from '../namespaces/enter.ts';
import { openNamespace } from '../namespaces/inside.ts';
import { seedInside } from '../namespaces/pid/seed-inside.ts';
import { Batch } from '../tracee/batch.ts';

/** Helper processes with the PIDs of dead tasks; they exist while files of these are opened. */
const HELPERS = new KeyedSlot((context: RestoreContext, pid: number) => {
  const seed = seedInside(context, pid);
  context.atEnd(() => seed[Symbol.dispose]());
  return { seed, batch: new Batch(seed.remote) };
});

/** Has a helper process have the PID of a dead task until the restore is over. */
export function standIn(pid: number, context: RestoreContext): void {
  HELPERS.of(context, pid);
}

/**
 * Lets a task go into a directory of a dead task. What is in `/proc/PID/fdinfo` is only for those who may trace the
 * process (proc_fdinfo_permission() in fs/proc/fd.c), so its helper goes into the user namespace of the task, where
 * browsers have made their sandboxes so.
 */
export function admit(pid: number, task: HostPid, context: RestoreContext): void {
  const helper = HELPERS.of(context, pid);
  const users = namespaceOf(task, 'user');
  if (users === namespaceOf(helper.seed.tracee.pid, 'user')) return;
  using fd = openNamespace(task, 'user');
  enterNamespace(helper, CLONE.NEWUSER, fd.number);
  // Not dumpable any more if the namespace belongs to another user (commit_creds() in kernel/cred.c).
  helper.batch.call('prctl', PR.SET_DUMPABLE, 1, 0, 0, 0);
  helper.batch.flush();
}
