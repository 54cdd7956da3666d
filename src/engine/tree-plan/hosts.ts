/**
 * Who forks whom. Sessions, and what clone(2) can share, pass from the task that calls clone, not from the parent.
 * So a task's host is its parent where that serves; else a task below the parent, whose new sibling (CLONE_PARENT) or
 * orphan the task becomes.
 */

import { addTo } from '../../base/lists.ts';
import type { Leaders } from './births.ts';
import type { Tree, TreeNode } from './node.ts';
import { SHARABLES, type Sharable, unbuildable } from './types.ts';

const NAMES: Readonly<Record<Sharable, string>> = {
  vm: 'its memory',
  sighand: 'its signal handlers',
  files: 'its table of descriptors',
  fs: 'its working directory and root',
};

/** How many tasks are tried as the one all others have it from: among tasks that can be made one of the first will do. */
const ORIGINS = 8;

/**
 * Gives every task but the root a host.
 * @throws StasisError kind 'unsupported' if none has all that the task has in common with others
 */
export function chooseHosts({ nodes }: Tree, { bySession, helpers }: Leaders): void {
  const free = unwantedBirths(nodes);
  for (const node of nodes) hostBySession(node, bySession);
  for (const helper of helpers) helper.host = helper.parent;
  for (const node of nodes) lend(node);
  for (const kind of SHARABLES) {
    for (const members of classes(nodes, kind).values()) gather(members, kind, free);
  }
}

/** Leaders that nobody needs to be born in a particular session. */
function unwantedBirths(nodes: readonly TreeNode[]): Set<TreeNode> {
  const free = new Set(nodes.filter((node) => node.leads && node.birth === node.parent?.sid));
  for (const { parent, birth } of nodes) if (parent && birth !== parent.sid) free.delete(parent);
  return free;
}

/** The parent, while it is in the session the task is born in; else the leader of that session, which is below it. */
function hostBySession(node: TreeNode, leaders: ReadonlyMap<number, TreeNode>): void {
  const { parent, birth } = node;
  if (!parent || birth === undefined) return;
  if (parent.sid === birth || parent.birth === birth) {
    node.host = parent;
    node.early = parent.sid !== birth;
  } else node.host = leaders.get(birth);
}

/**
 * Helpers, and tasks that end up as zombies, have nothing of their own: they may share with who forks them what those
 * they fork are to share with that one.
 */
function lend(guest: TreeNode): void {
  const between: TreeNode[] = [];
  let from = guest.host;
  for (; from && ownsNothing(from); from = from.host) between.push(from);
  for (const kind of SHARABLES) {
    const id = guest.shared[kind];
    if (id === undefined || from?.shared[kind] !== id) continue;
    for (const node of between) node.shared[kind] = id;
  }
}

function ownsNothing({ task }: TreeNode): boolean {
  return !task || task.zombie;
}

/** Tasks that share something with others, by what they share. */
function classes(nodes: readonly TreeNode[], kind: Sharable): Map<number, TreeNode[]> {
  const found = new Map<number, TreeNode[]>();
  for (const node of nodes) {
    const id = node.shared[kind];
    if (id !== undefined) addTo(found, id, node);
  }
  return found;
}

/** Sees to it that all who share have it from one of them, the one that is deepest: others may be forked below it. */
function gather(members: readonly TreeNode[], kind: Sharable, free: Set<TreeNode>): void {
  if (members.length < 2) return;
  const outsiders = members.filter(({ host, shared }) => host?.shared[kind] !== shared[kind]);
  if (outsiders.length < 2) return;
  // Who is to be in a certain session can fork those who do not mind.
  const rank = (node: TreeNode) => node.depth * 2 + (free.has(node) ? 0 : 1);
  outsiders.sort((a, b) => rank(b) - rank(a));
  if (outsiders.slice(0, ORIGINS).some((origin) => spreadFrom(origin, outsiders, members, kind, free))) return;
  const [one, two] = outsiders as [TreeNode, TreeNode]; // there are two at least
  const reason = `it shares ${NAMES[kind]} with task ${one.pid}, which cannot have passed it on to where it is`;
  throw unbuildable(two.pid, 'clone flags', reason);
}

/** Gives all outsiders but one a host among the members; if that fails everything is as before. */
function spreadFrom(
  origin: TreeNode,
  outsiders: readonly TreeNode[],
  members: readonly TreeNode[],
  kind: Sharable,
  free: Set<TreeNode>,
): boolean {
  const undo: (() => void)[] = [];
  for (const node of outsiders) {
    if (node === origin) continue;
    const fits = (host: TreeNode) => mayFork(host, node, kind, free);
    const host = fits(origin) ? origin : members.find(fits);
    if (host) undo.push(move(node, host, free));
    else {
      for (const back of undo.reverse()) back();
      return false;
    }
  }
  return true;
}

/** Whether a task could fork another, to be where it is and to have all it has, the new kind of sharing included. */
function mayFork(host: TreeNode, node: TreeNode, kind: Sharable, free: ReadonlySet<TreeNode>): boolean {
  if (!node.parent?.contains(host) || node.contains(host)) return false;
  if (host.shared[kind] !== node.shared[kind]) return false;
  if (!free.has(node) && host.sid !== node.birth && host.birth !== node.birth) return false;
  return SHARABLES.every((each) => {
    const has = node.shared[each];
    return has === undefined || node.host?.shared[each] !== has || host.shared[each] === has;
  });
}

/** Gives a task another host; answers how to take that back. */
function move(node: TreeNode, to: TreeNode, free: Set<TreeNode>): () => void {
  const { host, birth, early } = node;
  if (free.has(node)) node.birth = to.sid;
  node.host = to;
  node.early = to.sid !== node.birth;
  // Whoever forks it before setsid has to be born where it is.
  const taken = node.early && free.delete(to);
  return () => {
    Object.assign(node, { host, birth, early });
    if (taken) free.add(to);
  };
}
