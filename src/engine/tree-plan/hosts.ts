/**
 * Decides which task forks which (its host). A new task inherits session and shared resources from the task that calls
 * clone(2), not from its parent. So the host is the parent if that has the right session and resources; otherwise it is
 * a task below the parent, which makes the new task as a sibling (CLONE_PARENT) or as an orphan.
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

/**
 * How many tasks are tried as the origin from which all others get a shared resource. If a tree can be made, one of the
 * first tasks works.
 */
const ORIGINS = 8;

/**
 * Gives every task but the root a host.
 * @throws StasisError kind 'unsupported' if no host has everything that a task shares with others
 */
export function chooseHosts({ nodes }: Tree, { bySession, helpers }: Leaders): void {
  const free = unwantedBirths(nodes);
  for (const node of nodes) hostBySession(node, bySession);
  for (const helper of helpers) helper.host = helper.parent;
  hostByShared(nodes, free);
}

/**
 * Gives tasks other hosts if they share a resource with those, but not with the hosts they have.
 * @param free session leaders that may be born in any session
 * @throws StasisError kind 'unsupported' if no host has everything that a task shares with others
 */
export function hostByShared(nodes: readonly TreeNode[], free: Set<TreeNode>): void {
  for (const node of nodes) lend(node);
  for (const kind of SHARABLES) {
    for (const members of classes(nodes, kind).values()) gather(members, kind, free);
  }
}

/** Session leaders for which it does not matter in which session they are born. */
function unwantedBirths(nodes: readonly TreeNode[]): Set<TreeNode> {
  const free = new Set(nodes.filter((node) => node.leads && node.birth === node.parent?.sid));
  for (const { parent, birth } of nodes) if (parent && birth !== parent.sid) free.delete(parent);
  return free;
}

/**
 * Makes the parent the host, if it is in the session the task is born in at that time; else the leader of that session,
 * which is below the parent.
 */
function hostBySession(node: TreeNode, leaders: ReadonlyMap<number, TreeNode>): void {
  const { birth, parent } = node;
  if (!parent || birth === undefined) return;
  if (parent.sid === birth || parent.birth === birth) {
    node.host = parent;
    node.early = parent.sid !== birth;
  } else node.host = leaders.get(birth);
}

/**
 * Lets helpers and zombies share a resource with their host, if the tasks they fork are to share it with the host. They
 * have no resources of their own, so this changes nothing.
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

/** The tasks that share a resource with others, by the ID of the resource. */
function classes(nodes: readonly TreeNode[], kind: Sharable): Map<number, TreeNode[]> {
  const found = new Map<number, TreeNode[]>();
  for (const node of nodes) {
    const id = node.shared[kind];
    if (id !== undefined) addTo(found, id, node);
  }
  return found;
}

/**
 * Arranges that all tasks sharing a resource get it from one of them, the deepest one, since the others may be forked
 * below it.
 */
function gather(members: readonly TreeNode[], kind: Sharable, free: Set<TreeNode>): void {
  if (members.length < 2) return;
  const outsiders = members.filter(({ host, shared }) => host?.shared[kind] !== shared[kind]);
  if (outsiders.length < 2) return;
  // A task whose birth session is fixed can fork those whose birth session does not matter.
  const rank = (node: TreeNode) => node.depth * 2 + (free.has(node) ? 0 : 1);
  outsiders.sort((a, b) => rank(b) - rank(a));
  if (outsiders.slice(0, ORIGINS).some((origin) => spreadFrom(origin, outsiders, members, kind, free))) return;
  const [one, two] = outsiders as [TreeNode, TreeNode]; // there are at least two
  const reason = `it shares ${NAMES[kind]} with task ${one.pid}, which cannot have passed it on to where it is`;
  throw unbuildable(two.pid, 'clone flags', reason);
}

/** Gives all outsiders but `origin` a host among the members. If that fails, all changes are undone. */
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

/**
 * Whether `host` can fork `node` such that it has the right parent, session and shared resources, those of `kind`
 * included.
 */
function mayFork(host: TreeNode, node: TreeNode, kind: Sharable, free: ReadonlySet<TreeNode>): boolean {
  if (!node.parent?.contains(host) || node.contains(host)) return false;
  if (host.shared[kind] !== node.shared[kind]) return false;
  if (!free.has(node) && host.sid !== node.birth && host.birth !== node.birth) return false;
  return SHARABLES.every((each) => {
    const has = node.shared[each];
    return has === undefined || node.host?.shared[each] !== has || host.shared[each] === has;
  });
}

/** Gives a task another host. Returns a function that undoes it. */
function move(node: TreeNode, to: TreeNode, free: Set<TreeNode>): () => void {
  const { host, birth, early } = node;
  if (free.has(node)) node.birth = to.sid;
  node.host = to;
  node.early = to.sid !== node.birth;
  // A host that forks the task before its own setsid must be born in the birth session of the task.
  const taken = node.early && free.delete(to);
  return () => {
    Object.assign(node, { host, birth, early });
    if (taken) free.add(to);
  };
}
