/** Membership in control groups, and the groups themselves. */
import type { TaskKind } from '../../../contract/contract.ts';
import { enter, enterThread, limit, prepare } from './restore.ts';
import { capture } from './save.ts';

/**
 * Cgroups. They are made before there is any process, so that a restore that fails removes them when all are dead.
 * First in phase `birth`, so that memory is charged to the right ones; threads go to theirs before anything depends on
 * it (CPU sets). Limits are set in `creds`, when all are in their places and nothing large is made any more.
 */
export const cgroups: TaskKind = {
  name: 'cgroups',
  tree: { prepare, rebuilt: { state: limit } },
  rebuild: { birth: enter },
  thread: { capture, rebuild: { state: enterThread } },
};
