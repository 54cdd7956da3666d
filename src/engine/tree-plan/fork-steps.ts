/** The steps that fork all tasks, each into its session, from the root downwards. */

import { addTo } from '../../base/lists.ts';
import type { Tree, TreeNode } from './node.ts';
import { type Sharable, type TreeStep, unbuildable } from './types.ts';

/** PIDs of helpers that may have any. */
export interface SparePids {
  /** For those of which there is one at a time. */
  readonly first: number;
  /** One that nobody else has had. */
  another(): number;
}

/**
 * The steps that make all tasks. Helpers that stand in for session leaders still exist after these steps.
 * @throws StasisError kind 'unsupported' if tasks would have to fork each other
 */
export function* planGrowth(tree: Tree, helpers: readonly TreeNode[], sparePids: SparePids): Generator<TreeStep> {
  // The ends of processes that stay until all tasks exist.
  const ends: TreeStep[][] = [];
  // The nodes that each task forks before and after its setsid, in the given order, which becomes the order of its
  // children.
  const early = new Map<TreeNode, TreeNode[]>();
  const late = new Map<TreeNode, TreeNode[]>();
  for (const node of [...tree.nodes, ...helpers]) if (node.host) addTo(node.early ? early : late, node.host, node);

  const there = new Set([tree.root]);
  // Iterating over a Set also visits elements that are added meanwhile, in the order of insertion.
  for (const node of there) {
    yield* forkAll(node, early.get(node), sparePids, ends);
    if (node.leads) yield { do: 'setsid', pid: node.pid };
    // A session whose leader has died has no terminal any more.
    if (node.leads && node.task?.terminal && !node.task.zombie) yield { do: 'terminal', pid: node.pid };
    yield* forkAll(node, late.get(node), sparePids, ends);
    for (const guest of early.get(node) ?? []) there.add(guest);
    for (const guest of late.get(node) ?? []) there.add(guest);
  }
  const missing = tree.nodes.find((node) => !there.has(node));
  if (missing) {
    const reason = 'each of several tasks, of which it is one, could only be started by another one of them';
    throw unbuildable(missing.pid, `session ${missing.sid}`, reason);
  }
  // Whoever gets its parent keeps what is below it. So the lowest are first, while their parents are above them still.
  for (const end of ends.reverse()) yield* end;
}

/**
 * Forks children and siblings first, then the nodes whose parent is a more distant ancestor. To `ends` are added the
 * ends of processes that stay until all tasks exist.
 */
function* forkAll(
  host: TreeNode,
  guests: readonly TreeNode[] = [],
  sparePids: SparePids,
  ends: TreeStep[][],
): Generator<TreeStep> {
  const orphans = new Map<TreeNode, TreeNode[]>();
  for (const guest of guests) {
    const { parent } = guest;
    if (!parent) continue;
    if (guest.late) {
      const between = sparePids.another();
      yield { ...fork(host, guest, false), pid: between, helper: true };
      yield { ...fork(host, guest, false), by: between };
      ends.push(endBetween(between, host, parent));
    } else if (parent === host || parent === host.parent) yield fork(host, guest, parent !== host);
    else addTo(orphans, parent, guest);
  }
  for (const [parent, children] of orphans) yield* orphan(host, parent, children, sparePids.first);
}

/**
 * Makes a distant ancestor the parent of nodes that a task below it forks. Children of a dead task go to the nearest
 * ancestor that is a subreaper (kernel/exit.c, find_new_reaper). No task between is a subreaper yet, since the flags of
 * the tree are set at the very end.
 */
function* orphan(
  host: TreeNode,
  reaper: TreeNode,
  children: readonly TreeNode[],
  sparePid: number,
): Generator<TreeStep> {
  const share = sharing((kind) => children.some((child) => shares(host, child, kind)));
  yield { do: 'fork', by: host.pid, pid: sparePid, sibling: false, share, helper: true };
  for (const child of children) yield { ...fork(host, child, false), by: sparePid };
  yield* endBetween(sparePid, host, reaper);
}

/** Ends a helper, whose children become those of `reaper`. */
function endBetween(pid: number, { pid: parent }: TreeNode, { pid: reaper }: TreeNode): TreeStep[] {
  return [
    { do: 'subreaper', pid: reaper, on: true },
    { do: 'end', pid, reaper: parent },
    { do: 'subreaper', pid: reaper, on: false },
  ];
}

function fork(host: TreeNode, guest: TreeNode, sibling: boolean) {
  const share = sharing((kind) => shares(host, guest, kind));
  return { do: 'fork', by: host.pid, pid: guest.pid, sibling, share, helper: !guest.task } as const;
}

function shares(one: TreeNode, other: TreeNode, kind: Sharable): boolean {
  return one.shared[kind] !== undefined && one.shared[kind] === other.shared[kind];
}

function sharing(of: (kind: Sharable) => boolean): Record<Sharable, boolean> {
  return { vm: of('vm'), sighand: of('sighand'), files: of('files'), fs: of('fs') };
}
