/** Membership in control groups, and the groups themselves. */
import type { TaskKind } from '../contract.ts';
import { enter, limit } from './restore.ts';
import { capture } from './save.ts';

/**
 * Cgroups. First in phase `birth`, so that memory is charged to the right ones; limits are set in `state`, when nothing
 * large is made any more.
 */
export const cgroups: TaskKind = { name: 'cgroups', capture, rebuild: { birth: enter, state: limit } };
