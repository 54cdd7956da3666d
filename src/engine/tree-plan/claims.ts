/**
 * The numbers that must be free for a plan: PIDs of all tasks, and of sessions and groups whose leader is gone. Pure.
 */
import type { TreeStep, TreeTask } from './types.ts';

/** A number that no process may have as its PID, session or group when the tree is made. */
export interface Claim {
  readonly number: number;
  /**
   * What the number is used for. The number of a session or group is the PID of the helper that stands in for the
   * leader.
   */
  readonly use: 'task' | 'session' | 'group';
  /** The task that has the number, or is in the session or group. */
  readonly pid: number;
}

/**
 * The numbers that the steps for a tree need. TIDs are not included, nor are PIDs of helpers for which any number will
 * do.
 */
export function claimsOf(steps: readonly TreeStep[], tasks: readonly TreeTask[]): Claim[] {
  const claims = tasks.map(({ pid }): Claim => ({ number: pid, use: 'task', pid }));
  const inSession = new Map(tasks.map(({ sid, pid }) => [sid, pid]));
  const inGroup = new Map(tasks.map(({ pgid, pid }) => [pgid, pid]));
  for (const step of steps) {
    if (step.do !== 'fork' || !step.helper) continue;
    const pid = inSession.get(step.pid) ?? inGroup.get(step.pid);
    const use = inSession.has(step.pid) ? 'session' : 'group';
    if (pid !== undefined) claims.push({ number: step.pid, use, pid });
  }
  return claims;
}
