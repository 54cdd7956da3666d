/**
 * Makes a tree out of an order of makers ({@link searchBirths}): who forks whom. In each session, a node is forked by
 * the lowest of those that have to be above it. If these are not on one path, the one path is hung below the other.
 */

import { hostByShared } from './hosts.ts';
import type { Tree, TreeNode } from './node.ts';
import type { Births } from './search-births.ts';
import { unbuildable } from './types.ts';

/**
 * Gives all nodes their birth sessions and hosts, and decides who gets its parent only when all tasks exist.
 * @throws StasisError kind 'unsupported' if tasks share something that they cannot get from their hosts
 */
export function hostByOrder(tree: Tree, births: Births): void {
  hostBySessions(births);
  const { nodes } = births;
  const free = new Set(
    nodes.filter(({ leads, birth, host, parent }) => leads && host === parent && birth === host?.sid),
  );
  for (const { early, host } of nodes) if (early && host) free.delete(host);
  hostByShared(tree.nodes, free);
  deferMoves(tree);
}

function hostBySessions({ nodes, order, birthLeaders }: Births): void {
  const rank = nodes.map((_, at) => order.countAbove(at));
  const topDown = nodes.map((_, at) => at).sort((a, b) => (rank[a] ?? 0) - (rank[b] ?? 0));
  const forest = new Map<number, number>();
  for (const at of topDown) {
    if (birthLeaders[at] === at) continue; // the one that stands for the maker of the root
    const leader = birthLeaders[at] ?? at;
    const above = [...order.allAbove(at)].filter((node) => birthLeaders[node] === leader && node !== leader);
    above.sort((a, b) => (rank[a] ?? 0) - (rank[b] ?? 0));
    forest.set(at, lineUp(above, leader, forest));
  }
  for (const [at, by] of forest) {
    const node = nodes[at] as TreeNode; // the keys are places in the list
    const host = nodes[by] as TreeNode;
    node.birth = nodes[birthLeaders[at] ?? at]?.sid;
    if (host === nodes[0]) continue;
    node.host = host;
    if (!node.task) node.parent = host;
    node.early = host.sid !== node.birth;
  }
}

/**
 * Has nodes of one session on one path below its leader.
 * @param nodes higher ones first
 * @param hosts what has been decided so far
 * @returns the lowest of them
 */
function lineUp(nodes: readonly number[], leader: number, hosts: Map<number, number>): number {
  let lowest = leader;
  let path = new Set([leader]);
  for (const node of nodes) {
    if (path.has(node)) continue;
    let top = node;
    let meeting = hosts.get(top) ?? leader;
    while (!path.has(meeting)) {
      top = meeting;
      meeting = hosts.get(top) ?? leader;
    }
    if (meeting !== lowest) hosts.set(top, lowest);
    lowest = node;
    path = new Set([leader]);
    for (let at = node; at !== leader; at = hosts.get(at) ?? leader) path.add(at);
  }
  return lowest;
}

/**
 * Marks the tasks that are to get their parents late. A task gets its parent as soon as it has been forked, unless its
 * parent is above that of a task below it, which would not be below its parent any more.
 * @throws StasisError kind 'unsupported' if a task is not below its parent
 */
function deferMoves({ nodes, root }: Tree): void {
  const depths = new Map([[root, 0]]);
  for (const node of nodes) {
    const way: TreeNode[] = [];
    for (let at: TreeNode | undefined = node; at && !depths.has(at); at = at.host) {
      if (way.length > nodes.length * 2) break; // a circle, which has no depth and is found below
      way.push(at);
    }
    let depth = depths.get(way.at(-1)?.host ?? root) ?? 0;
    for (const at of way.reverse()) depths.set(at, ++depth);
  }
  const depthOf = (node: TreeNode) => depths.get(node) ?? 0;
  for (const { parent, host, pid, sid } of nodes) {
    if (!parent) continue;
    let at = host;
    for (; at && at !== parent && depthOf(at) > depthOf(parent); at = at.host) {
      if (at.parent && depthOf(at.parent) < depthOf(parent)) at.late = true;
    }
    if (at !== parent) throw unbuildable(pid, `session ${sid}`, `it cannot have got its parent ${parent.pid}`);
  }
}
