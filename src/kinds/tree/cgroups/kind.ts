/** Membership in control groups, and the groups themselves. */
import type { TaskKind } from '../../../contract/contract.ts';
import { enter, enterThread, leaveRoot, limit, prepare } from './restore.ts';
import { capture } from './save.ts';

/**
 * Cgroups. They are made before any process, so that a failed restore removes them after all processes are dead. The
 * kind is the first in the phases `birth` and `memory`, so that memory is charged to the right cgroup; threads are
 * moved before anything depends on it (CPU sets). Limits are set in `creds`, when all tasks are in place and nothing
 * large is allocated any more.
 */
export const cgroups: TaskKind = {
  name: 'cgroups',
  tree: { prepare, rebuilt: { state: limit } },
  rebuild: { birth: enter, memory: leaveRoot },
  thread: { capture, rebuild: { state: enterThread } },
};
