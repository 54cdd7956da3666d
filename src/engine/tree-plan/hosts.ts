/**
 * Who forks whom. Sessions, and what clone(2) can share, pass from the task that calls clone, not from the parent.
 * So a task's host is its parent where that serves; else a task below the parent, whose new sibling (CLONE_PARENT) or
 * orphan the task becomes.
 */
import type { Leaders } from './births.ts';
import type { Tree, TreeNode } from './node.ts';
import { addTo, SHARABLES, type Sharable, unbuildable } from './types.ts';

const NAMES: Readonly<Record<Sharable, string>> = {
  vm: 'its memory',
  sighand: 'its signal handlers',
  files: 'its table of descriptors',
  fs: 'its working directory and root',
};

/**
 * Gives every task but the root a host.
 * @throws StasisError kind 'unsupported' if none has all that the task has in common with others
 */
export function chooseHosts({ nodes }: Tree, { bySession, helpers }: Leaders): void {
  const wanted = unwantedBirths(nodes);
  for (const node of nodes) hostBySession(node, bySession);
  for (const helper of helpers) helper.host = helper.parent;
  for (const node of nodes) if (node.host && !node.host.task) lend(node.host, node);
  for (const kind of SHARABLES) {
    for (const members of classes(nodes, kind).values()) gather(members, kind, wanted);
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

/** A helper shares with its parent what those it forks are to share with that one. */
function lend(helper: TreeNode, guest: TreeNode): void {
  const from = helper.parent?.shared ?? {};
  for (const kind of SHARABLES) {
    if (from[kind] !== undefined && from[kind] === guest.shared[kind]) helper.shared[kind] = from[kind];
  }
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
  const depth = (node: TreeNode) => node.depth * 2 + (free.has(node) ? 0 : 1);
  const origin = outsiders.reduce((deepest, node) => (depth(node) > depth(deepest) ? node : deepest));
  for (const node of outsiders) {
    if (node === origin) continue;
    const host = mayFork(origin, node, kind, free)
      ? origin
      : members.find((member) => mayFork(member, node, kind, free));
    if (!host) {
      const reason = `it shares ${NAMES[kind]} with task ${origin.pid}, which cannot have passed it on to where it is`;
      throw unbuildable(node.pid, 'clone flags', reason);
    }
    move(node, host, free);
  }
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

function move(node: TreeNode, host: TreeNode, free: Set<TreeNode>): void {
  if (free.has(node)) node.birth = host.sid;
  node.host = host;
  node.early = host.sid !== node.birth;
  // It has to be born there now.
  if (node.early) free.delete(host);
}
