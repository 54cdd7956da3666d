/**
 * Autogroups: the scheduler first divides time among sessions, each of which has a nice value (sched_autogroup(7)).
 * setsid(2) makes a new autogroup, so a restored session starts with the nice value 0.
 */

import type { HostPid } from '../../../base/brands.ts';
import type { DumpContext, DumpTask, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { trySet } from '../../../kernel/files.ts';
import { readProcIfAny } from '../../../kernel/proc/read.ts';
import { type Autogroup, parseAutogroup } from '../../../kernel/proc/values.ts';
import { describeErrno } from '../../../kernel/syscall.ts';

/** The autogroup of a task; undefined where the kernel has none (CONFIG_SCHED_AUTOGROUP). */
function autogroupOf(pid: HostPid | 'self'): Autogroup | undefined {
  const text = readProcIfAny(pid, 'autogroup');
  return text && parseAutogroup(text);
}

/** The sessions whose autogroups are captured. */
const LOOKED_AT = new Slot((_: DumpContext) => new Set<number>());

/** Captures the nice value with the first task of each session. */
function capture(task: DumpTask): undefined {
  const looked = LOOKED_AT.of(task.context);
  const { session } = task.stat;
  if (looked.has(session)) return;
  looked.add(session);
  const nice = autogroupOf(task.pid)?.nice ?? 0;
  if (nice !== 0) task.ownState.autogroup = { nice };
}

/**
 * Sets the nice value. A task that has joined the session of the process that restores it is in our autogroup, which is
 * left alone.
 */
function rebuild(task: RestoreTask): void {
  const { nice } = (task.ownState.autogroup ?? {}) as { readonly nice?: number };
  if (nice === undefined || autogroupOf(task.tracee.pid)?.id === autogroupOf('self')?.id) return;
  const result = trySet(`/proc/${task.tracee.pid}/autogroup`, String(nice));
  if (result >= 0) return;
  const reason = `the niceness ${nice} of its session cannot be set: ${describeErrno(result)}`;
  task.context.notice({ task: task.ref, resource: `session ${task.pstree.sid}`, reason });
}

/** The nice values of sessions. */
export const autogroup: TaskKind = { name: 'autogroup', capture, rebuild: { state: rebuild } };
