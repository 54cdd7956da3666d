/**
 * How a saved tree of processes is made again. The root is planted from outside; from then on living tasks fork
 * others, at our word and one after another, until all are there with the parents, sessions, groups and shared
 * resources they had. What the kernel allows (kernel/sys.c, kernel/fork.c, kernel/exit.c):
 *
 * - fork passes on session and group of whoever calls it, with CLONE_PARENT too, where the caller's parent becomes
 *   the new task's. What CLONE_VM and its like share is the caller's.
 * - setsid fails with EPERM while a group with the caller's PID exists. It makes session and group, and drops the
 *   terminal. A leader stays in its group for good.
 * - setpgid joins a group of the same session that has members, zombies among them, or makes the caller's own.
 * - The children of a dead task go to the nearest living ancestor that is a subreaper.
 * - A PID is in use as long as a session or a group of that number has members: who leads must be there first.
 *
 * A plan has three parts: all tasks come into being, each in its session; groups are made and joined; helpers end and
 * subreapers get their mark. Zombies are made like all others and do their part: they must be made to exit after the
 * last step. A zombie's session and group outlive it, as do those of helpers.
 *
 * What cannot be made, though a kernel can come to it: a task that shares memory or signal handlers with others above
 * and below its parent, which has called execve meanwhile; the same of descriptors or directories after unshare(2);
 * tasks that each share something with another one where the one that had all of it is gone.
 */
import { decideBirths } from './births.ts';
import { planGrowth } from './fork-steps.ts';
import { planGroups } from './groups.ts';
import { chooseHosts } from './hosts.ts';
import { linkTree } from './node.ts';
import type { Planting, TreeStep, TreeTask } from './types.ts';

export type { Planting, TreeStep, TreeTask } from './types.ts';

/** Below the lowest limit of PIDs there is by default (pid_max on a small machine). */
const HIGH_PID = 32_767;

/**
 * Plans how the tree is made. Takes time in proportion to the number of tasks.
 * @param tasks in the order in which parents are to have their children
 * @throws StasisError kind 'image' for a tree that cannot have been; 'usage' for a root that is to stay in a session
 *   of others without `joins`; 'unsupported', with the task, for what cannot be made
 */
export function planTree(tasks: readonly TreeTask[], planting: Planting): readonly TreeStep[] {
  const tree = linkTree(tasks, planting);
  const leaders = decideBirths(tree);
  chooseHosts(tree, leaders);
  const sparePid = planting.sparePid ?? unusedPid(tasks);
  return [...steps()];

  function* steps(): Generator<TreeStep> {
    yield* planGrowth(tree, leaders, sparePid);
    yield* planGroups(tree, planting, sparePid);
    for (const { pid, parent, host } of leaders.helpers) yield { do: 'end', pid, reaper: (parent ?? host)?.pid ?? 0 };
    for (const { pid, zombie, subreaper } of tasks) if (subreaper && !zombie) yield { do: 'subreaper', pid, on: true };
  }
}

function unusedPid(tasks: readonly TreeTask[]): number {
  const used = new Set(tasks.flatMap(({ pid, pgid, sid }) => [pid, pgid, sid]));
  let pid = HIGH_PID;
  while (used.has(pid)) pid--;
  return pid;
}
