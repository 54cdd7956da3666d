/**
 * Plans how a saved process tree is made again. The root is made from outside. From then on living tasks fork others,
 * one after another as they are told, until all exist with their parents, sessions, groups and shared resources. The
 * plan rests on these rules of the kernel (kernel/sys.c, kernel/fork.c, kernel/exit.c):
 *
 * - A new task inherits session and group of the caller of fork, with CLONE_PARENT too, where the parent of the caller
 *   becomes the parent of the new task. With CLONE_VM and the like it shares resources of the caller.
 * - setsid fails with EPERM while a group with the caller's PID exists. It makes session and group, and drops the
 *   terminal. A session leader can never leave its group.
 * - setpgid joins a group of the same session that has members, zombies among them, or makes the caller's own.
 * - The children of a dead task go to the nearest living ancestor that is a subreaper.
 * - A PID is in use as long as a session or group of that number has members, so a leader must be made before the
 *   members.
 *
 * A plan has three parts. All tasks are forked, each into its session; groups are made and joined; helpers end and
 * subreapers get their flag. Zombies are made and used like all other tasks, and have to be made to exit after the last
 * step. The session and group of a zombie outlive it, as do those of helpers.
 *
 * Some trees that the kernel allows cannot be made: a task that shares memory or signal handlers with tasks above and
 * below its parent, where the parent has called execve meanwhile; the same with descriptors or directories after
 * unshare(2); tasks that each share something with another one, where the one that shared with all is gone.
 */
import { Part } from '../../base/part.ts';
import { decideBirths } from './births.ts';
import { planGrowth, type SparePids } from './fork-steps.ts';
import { planGroups } from './groups.ts';
import { chooseHosts } from './hosts.ts';
import { linkTree } from './node.ts';
import type { Forks } from './search-forks.ts';
import { isUnbuildable, type Planting, type TreeStep, type TreeTask } from './types.ts';

export type { Planting, TreeStep, TreeTask } from './types.ts';

// Hardly any tree needs these.
const ACROSS = new Part(() => require('./across.ts') as typeof import('./across.ts'));
const SEARCHING = new Part(() => require('./search-forks.ts') as typeof import('./search-forks.ts'));

/** The highest PID on every machine: pid_max is 32768 on small machines. */
const HIGH_PID = 32_767;
const RESERVED_PIDS = 300;

/**
 * Plans how the tree is made, for nearly all trees in time proportional to the number of tasks.
 * @param tasks in the order in which parents list their children
 * @throws StasisError kind 'image' for a tree that cannot have been; 'usage' for a root that is to stay in a session
 *   of others without `joins`; 'unsupported', with the task, for what cannot be made
 */
export function planTree(tasks: readonly TreeTask[], planting: Planting): readonly TreeStep[] {
  const numbers = tasks.flatMap(({ pid, pgid, sid }) => [pid, pgid, sid]);
  const spares = (planting.sparePids ?? sparePids(numbers, () => true))[Symbol.iterator]();
  const another = (): number => spares.next().value ?? HIGH_PID;
  const first = another();
  const { tree, helpers, steps } = planForks(tasks, planting, { first, another });
  if (planting.places)
    return [...new (ACROSS.load().PlanAcross)(tree, planting.places, planting).steps(steps, [...ends()])];
  return [...steps, ...planGroups(tree, planting, first), ...ends()];

  function* ends(): Generator<TreeStep> {
    for (const { pid, parent } of helpers) yield { do: 'end', pid, reaper: parent?.pid ?? 0 };
    for (const { pid, zombie, subreaper } of tasks) if (subreaper && !zombie) yield { do: 'subreaper', pid, on: true };
  }
}

/** Nearly all trees are planned in one go. If that fails, possibilities are tried. */
function planForks(tasks: readonly TreeTask[], planting: Planting, sparePids: SparePids): Forks {
  try {
    const tree = linkTree(tasks, planting);
    const leaders = decideBirths(tree);
    chooseHosts(tree, leaders);
    const { helpers } = leaders;
    return { tree, helpers, steps: [...planGrowth(tree, helpers, sparePids)] };
  } catch (error) {
    const forks = isUnbuildable(error) ? SEARCHING.load().searchForks(tasks, planting, sparePids) : undefined;
    // The first error tells best what is wrong.
    if (!forks) throw error;
    return forks;
  }
}

/**
 * PIDs for helpers ({@link Planting.sparePids}): the highest that every machine has, are none of `taken`, and are
 * unused; none of those that the kernel keeps for its own (RESERVED_PIDS in kernel/pid.c).
 */
export function* sparePids(taken: readonly number[], isUnused: (pid: number) => boolean): Generator<number, undefined> {
  const numbers = new Set(taken);
  for (let pid = HIGH_PID; pid > RESERVED_PIDS; pid--) if (!numbers.has(pid) && isUnused(pid)) yield pid;
}
