/** Which numbers a plan needs to be free: those of all tasks, and of sessions and groups that get a stand-in. Pure. */
import type { TreeStep, TreeTask } from './types.ts';

/** A number that must be nobody's PID, session or group when the tree is made. */
export interface Claim {
  readonly number: number;
  /** What it is the number of. A session's or group's is claimed for the helper that stands in for a leader that is gone. */
  readonly use: 'task' | 'session' | 'group';
  /** The task that has the number, or is in the session or group. */
  readonly pid: number;
}

/** What the steps for a tree claim; numbers of threads apart, and of helpers for which any number will do. */
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
