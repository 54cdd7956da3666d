/** Membership in control groups, and the groups themselves. */
import { Part } from '../../../base/part.ts';
import type { TaskKind } from '../../../contract/contract.ts';
import { hasEmptyNamespaces } from '../../../namespaces/empty.ts';

const CAPTURING = new Part(() => require('./capture.ts') as typeof import('./capture.ts'));
const RESTORING = new Part(() => require('./restore.ts') as typeof import('./restore.ts'));
const EMPTY = new Part(() => require('./empty.ts') as typeof import('./empty.ts'));

/**
 * Cgroups. They are made before any process, so that a failed restore removes them after all processes are dead. The
 * kind is the first in the phases `birth` and `memory`, so that memory is charged to the right cgroup; threads are
 * moved before anything depends on it (CPU sets). Limits are set in `creds`, when all tasks are in place and nothing
 * large is allocated any more.
 */
export const cgroups: TaskKind = {
  name: 'cgroups',
  tree: {
    prepare: (context) => RESTORING.load().prepare(context),
    rebuilt: {
      memory: (context) => {
        if (hasEmptyNamespaces(context)) EMPTY.load().makeEmpty(context);
      },
      state: (context) => RESTORING.load().limit(context),
    },
  },
  rebuild: {
    birth: (task) => RESTORING.load().enter(task),
    memory: (task) => RESTORING.load().leaveRoot(task),
  },
  thread: {
    capture: (thread) => CAPTURING.load().capture(thread),
    rebuild: { state: (thread) => RESTORING.load().enterThread(thread) },
  },
};
