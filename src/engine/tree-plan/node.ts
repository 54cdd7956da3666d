/** The tree in the form the planner uses: checked, linked, and numbered so that ancestry is a comparison of numbers. */
import { StasisError } from '../../base/errors.ts';
import { addTo } from '../../base/lists.ts';
import { damaged, type Planting, type Sharable, type TreeTask } from './types.ts';

/** Stands for the session of the process that makes the root, if no task of the tree may stay in it. */
export const OUTSIDE = 0;

/** A task of the tree, or a helper that stands in for a session leader that is gone. */
export class TreeNode {
  readonly pid: number;
  readonly sid: number;
  /** Undefined for a helper. */
  readonly task: TreeTask | undefined;
  /** Undefined for the root. That of a helper is its host, so it may be decided later. */
  parent: TreeNode | undefined;
  readonly shared: Partial<Record<Sharable, number>>;
  /** The session it is born in. For a session leader it is decided by the tasks that depend on it. */
  birth: number | undefined;
  /** The task that forks it; undefined for the root. */
  host: TreeNode | undefined;
  /**
   * Whether it is a child of a helper until all tasks exist, and gets its own parent then, since tasks below it have
   * parents that are above it only until then.
   */
  late = false;
  /** Whether it is forked before its host calls setsid. */
  early = false;
  depth = 0;
  /** Numbers of the first node (itself) and of the last node of its subtree, in preorder. */
  first = 0;
  last = 0;

  constructor(pid: number, sid: number, parent: TreeNode | undefined, task?: TreeTask) {
    this.pid = pid;
    this.sid = sid;
    this.parent = parent;
    this.task = task;
    this.shared = task && !task.zombie ? { ...task.shared } : {};
  }

  /** Whether it leads its session. */
  get leads(): boolean {
    return this.pid === this.sid;
  }

  /** Whether `other` is this node or a descendant of it. */
  contains(other: TreeNode): boolean {
    return this.first <= other.first && other.last <= this.last;
  }
}

/** The checked tree. */
export interface Tree {
  readonly root: TreeNode;
  /** In the order in which the tasks were given. */
  readonly nodes: readonly TreeNode[];
  readonly byPid: ReadonlyMap<number, TreeNode>;
  /** The saved number of the session that the session the root is born in replaces, if tasks are to stay in that. */
  readonly foreign: number | undefined;
  /** The saved number of the group that the group the root is born in replaces. */
  readonly foreignGroup: number | undefined;
}

/**
 * Links the tasks, which may come in any order.
 * @throws StasisError kind 'image' for a tree that no kernel can have had; 'usage' for a root in a session of others
 */
export function linkTree(tasks: readonly TreeTask[], planting: Planting): Tree {
  const byPid = new Map<number, TreeNode>();
  const top = checkTasks(tasks);
  const children = new Map<number, TreeTask[]>();
  for (const task of tasks) addTo(children, task.ppid, task);
  const root = number(top, children, byPid);
  // A task that is not reachable from the root is part of a cycle of parents, or below one.
  const lost = tasks.find(({ pid }) => !byPid.has(pid));
  if (lost) throw damaged(lost.pid, 'the task is its own ancestor');
  const nodes = tasks.map(({ pid }) => byPid.get(pid) as TreeNode); // all are in the map

  if (!root.leads && !planting.joins) {
    throw new StasisError({
      kind: 'usage',
      code: 'SESSION_OUTSIDE',
      task: { pid: root.pid },
      resource: `session ${root.sid}`,
      reason: 'the process was part of a session that is not in the images',
      remedy: 'give --shell-job to let it join the session of whoever restores it',
    });
  }
  const foreign = root.leads ? sessionOfOthers(nodes, byPid, planting) : root.sid;
  if (foreign !== undefined && byPid.has(foreign)) {
    throw damaged(root.pid, `it is in session ${foreign}, which a task below it leads`);
  }
  root.birth = foreign ?? OUTSIDE;
  const foreignGroup = foreign === undefined ? undefined : groupOfOthers(root, foreign, nodes, byPid, planting);
  const tree = { root, nodes, byPid, foreign, foreignGroup };
  checkMembership(tree);
  return tree;
}

/** The session outside of the tree that tasks have stayed in below a root that leads its own session. */
function sessionOfOthers(
  nodes: readonly TreeNode[],
  byPid: ReadonlyMap<number, TreeNode>,
  { joins, isTaken }: Planting,
): number | undefined {
  return joins && isTaken ? nodes.find(({ sid }) => !byPid.has(sid) && isTaken(sid))?.sid : undefined;
}

/** The group of that session which the group the root is born in replaces. */
function groupOfOthers(
  root: TreeNode,
  foreign: number,
  nodes: readonly TreeNode[],
  byPid: ReadonlyMap<number, TreeNode>,
  { isTaken }: Planting,
): number {
  const groups = (root.leads ? nodes : [root]).flatMap(({ sid, task }) => {
    const pgid = task?.pgid ?? 0;
    return sid === foreign && !byPid.has(pgid) && (!root.leads || isTaken?.(pgid)) ? [pgid] : [];
  });
  // If the root is in a group of the tree, the foreign group is the shell's own.
  return groups[0] ?? foreign;
}

function checkTasks(tasks: readonly TreeTask[]): TreeTask {
  const known = new Map<number, TreeTask>();
  let root: TreeTask | undefined;
  for (const task of tasks) {
    const { pid, ppid } = task;
    if (!Number.isSafeInteger(pid) || pid <= 0) throw damaged(pid, 'this is no PID');
    if (known.has(pid)) throw damaged(pid, 'the task is there twice');
    known.set(pid, task);
    if (ppid !== 0) continue;
    if (root) throw damaged(pid, `it has no parent, and neither has task ${root.pid}`);
    root = task;
  }
  if (!root) throw damaged(undefined, tasks.length === 0 ? 'there are no tasks' : 'no task is the root of the others');
  for (const { pid, ppid } of tasks) {
    if (ppid === 0) continue;
    const parent = known.get(ppid);
    if (!parent) throw damaged(pid, `its parent ${ppid} is not there`);
    if (parent.zombie) throw damaged(pid, `its parent ${ppid} is a zombie`);
  }
  return root;
}

/**
 * Makes the nodes from the root downwards. It does not recurse, since a chain of tasks may be longer than the stack
 * allows.
 */
function number(top: TreeTask, children: ReadonlyMap<number, TreeTask[]>, byPid: Map<number, TreeNode>): TreeNode {
  const root = new TreeNode(top.pid, top.sid, undefined, top);
  const path: { node: TreeNode; below: Iterator<TreeTask> }[] = [];
  let count = 0;
  const enter = (node: TreeNode) => {
    byPid.set(node.pid, node);
    node.first = count++;
    node.depth = path.length;
    if (!node.leads) node.birth = node.sid;
    path.push({ node, below: (children.get(node.pid) ?? []).values() });
  };
  enter(root);
  for (let at = path.at(-1); at; at = path.at(-1)) {
    const { done, value: task } = at.below.next();
    if (done) {
      at.node.last = count - 1;
      path.pop();
    } else enter(new TreeNode(task.pid, task.sid, at.node, task));
  }
  return root;
}

/** Checks sessions and groups. @throws StasisError (image) for a combination that no kernel can have */
function checkMembership({ nodes, byPid, foreign, foreignGroup }: Tree): void {
  const sessionOf = new Map<number, number>();
  const memoryOf = new Map<number, number>();
  for (const { pid, sid, leads, task, shared } of nodes) {
    const pgid = task?.pgid ?? 0;
    if (leads && pgid !== pid) throw damaged(pid, `it leads a session, but is in group ${pgid}`);
    if (sid !== foreign && sid <= 0) throw damaged(pid, `there is no session ${sid}`);
    if (pgid !== foreignGroup && pgid <= 0) throw damaged(pid, `there is no group ${pgid}`);
    const leader = byPid.get(sid);
    if (leader && !leader.leads) throw damaged(pid, `task ${sid} does not lead the session ${sid} it is in`);
    // A group belongs to one session, that of its leader if the leader exists. No group has the number of another
    // session.
    const session = sessionOf.get(pgid) ?? byPid.get(pgid)?.sid ?? sid;
    if (session !== sid) throw damaged(pid, `its group ${pgid} is in session ${session}, not in ${sid}`);
    sessionOf.set(pgid, sid);
    if (shared.sighand === undefined) continue;
    const memory = memoryOf.get(shared.sighand) ?? shared.vm;
    if (memory === undefined || memory !== shared.vm) {
      throw damaged(pid, 'it shares signal handlers, but no memory, with another task');
    }
    memoryOf.set(shared.sighand, memory);
  }
  for (const { pid, sid } of nodes) {
    const session = sessionOf.get(sid);
    if (session !== undefined && session !== sid) throw damaged(pid, `group ${sid} is not in session ${sid}`);
  }
}
