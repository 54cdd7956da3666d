/**
 * Process groups. After the fork steps every task is in the group of its session's leader, since fork and setsid have
 * set groups so far. Now group leaders make their groups, the others join, and leaders that belong to another group
 * move there when their own group has other members.
 */
import type { Tree, TreeNode } from './node.ts';
import { type Planting, SHARABLES, type Sharable, type TreeStep, unbuildable } from './types.ts';

const NOTHING = Object.fromEntries(SHARABLES.map((kind) => [kind, false])) as Record<Sharable, false>;

/** A process group other than that of the session leader. */
interface Group {
  readonly pgid: number;
  readonly leader: TreeNode | undefined;
  /** The tasks that join the group. */
  readonly members: TreeNode[];
}

/**
 * The steps that move tasks from the groups of the session leaders into their own. All tasks must exist.
 * @throws StasisError kind 'unsupported' for a task that has to return to the group it was born in, if its number
 *   is not known
 */
export function* planGroups(tree: Tree, planting: Planting, sparePid: number): Generator<TreeStep> {
  const groups = groupsOf(tree);
  const ends: TreeStep[] = [];
  for (const { pgid, leader, members } of groups.values()) {
    if (!leader) {
      // The number of a group is the PID of the process that made it, so a helper with that PID makes it.
      const by = (members[0] as TreeNode).pid; // a group without a leader has members
      yield { do: 'fork', by, pid: pgid, sibling: false, share: NOTHING, helper: true };
      ends.push({ do: 'end', pid: pgid, reaper: by });
    }
    yield { do: 'setpgid', pid: pgid, pgid };
  }
  for (const { pgid, members } of groups.values()) {
    for (const { pid } of members) if (!groups.has(pid)) yield { do: 'setpgid', pid, pgid };
  }
  yield* moveLeaders(groups, tree, planting, sparePid);
  yield* ends;
}

function groupsOf({ nodes, byPid, foreignGroup, foreign }: Tree): Map<number, Group> {
  const groups = new Map<number, Group>();
  for (const node of nodes) {
    const pgid = node.task?.pgid ?? 0;
    const home = node.sid === foreign ? foreignGroup : node.sid;
    if (pgid === home) continue;
    const group = groups.get(pgid) ?? { pgid, leader: byPid.get(pgid), members: [] };
    groups.set(pgid, group);
    if (node !== group.leader) group.members.push(node);
  }
  return groups;
}

/**
 * Moves group leaders that belong to another group, one at a time, as soon as another task that stays is in the
 * leader's own group. Leaders in a circle, each of which belongs to the group of the next and is alone in its own, need
 * a helper that keeps the first group alive.
 */
function* moveLeaders(
  groups: ReadonlyMap<number, Group>,
  { foreignGroup }: Tree,
  { bornPgid }: Planting,
  sparePid: number,
): Generator<TreeStep> {
  const waiting = new Map<number, TreeNode>();
  for (const { leader } of groups.values())
    if (leader && leader.task?.pgid !== leader.pid) waiting.set(leader.pid, leader);

  const ready = [...waiting.values()].filter(({ pid }) => groups.get(pid)?.members.some((m) => !groups.has(m.pid)));
  function* move(): Generator<TreeStep> {
    for (let node = ready.pop(); node; node = ready.pop()) {
      const { pid, task } = node;
      const saved = task?.pgid ?? 0;
      const pgid = saved === foreignGroup ? bornPgid : saved;
      if (pgid === undefined) {
        const reason = 'the task made a group, and went back to that of whoever started it';
        throw unbuildable(pid, `process group ${saved}`, reason);
      }
      waiting.delete(pid);
      yield { do: 'setpgid', pid, pgid };
      const next = waiting.get(saved);
      if (next && !ready.includes(next)) ready.push(next);
    }
  }
  yield* move();
  for (const node of [...waiting.values()]) {
    if (!waiting.has(node.pid)) continue;
    yield { do: 'fork', by: node.pid, pid: sparePid, sibling: false, share: NOTHING, helper: true };
    ready.push(node);
    yield* move();
    yield { do: 'end', pid: sparePid, reaper: node.pid };
  }
}
