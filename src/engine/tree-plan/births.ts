/**
 * Decides which session every task is born in. A task that leads no session is born in its own session, since fork is
 * the only way into one. A session leader may be born in any session. A child of a leader that is neither in the
 * leader's session nor in one that a task below it began was born before the leader called setsid, in the session the
 * leader was in then.
 *
 * Time is proportional to the number of tasks. What cannot be decided in this way is left to search-births.ts.
 */

import { addTo } from '../../base/lists.ts';
import { type Tree, TreeNode } from './node.ts';
import { SHARABLES, unbuildable } from './types.ts';

/** A session whose leader is not in the tree. */
interface GoneSession {
  readonly sid: number;
  /** Nodes that must be ancestors of the helper that stands in for the leader, or be born in the session. */
  parents: TreeNode[];
  /** Those of `parents` that share something (CLONE_VM, …) with a child in the session. */
  readonly sharing: ReadonlySet<TreeNode>;
}

/** The leaders of all sessions but the foreign one: tasks, and helpers that stand in for leaders that are gone. */
export interface Leaders {
  readonly bySession: ReadonlyMap<number, TreeNode>;
  readonly helpers: readonly TreeNode[];
}

/**
 * Decides the birth sessions of all tasks.
 * @throws StasisError kind 'unsupported' if a task cannot have got into its session by the kernel's rules
 */
export function decideBirths({ nodes, byPid, foreign }: Tree): Leaders {
  const bySession = new Map<number, TreeNode>();
  const gone = new Map<number, TreeNode[]>();
  for (const node of nodes) {
    const { sid, parent } = node;
    if (node.leads) bySession.set(sid, node);
    else if (sid === foreign || byPid.has(sid)) demandBirth(node, byPid.get(sid));
    else if (parent) addTo(gone, sid, node);
  }
  const homes = new Placement([...gone].map(([sid, members]) => goneSession(sid, members))).solve();
  const helpers = [...homes].map(([sid, home]) => helperAt(sid, home));
  for (const helper of helpers) bySession.set(helper.pid, helper);
  // The birth session of the others does not matter, so they are born in the final session of their parent.
  for (const node of nodes) node.birth ??= node.parent?.sid;
  return { bySession, helpers };
}

/**
 * Goes up from a task: all its ancestors are born in the session, up to one that stays in it or to an ancestor of the
 * leader that began it.
 */
function demandBirth(task: TreeNode, leader: TreeNode | undefined): void {
  const { sid } = task;
  for (let at = task.parent; at; at = at.parent) {
    if (at.sid === sid || at.birth === sid || (leader && at.contains(leader))) return;
    if (!mayBeBorn(at)) throw strayed(task, sid, at);
    at.birth = sid;
  }
}

/**
 * Descendants of a member are younger than it, so the session did not begin there; they inherited it from the member.
 */
function goneSession(sid: number, members: TreeNode[]): GoneSession {
  const parents = new Set<TreeNode>();
  const sharing = new Set<TreeNode>();
  let outermost: TreeNode | undefined;
  for (const member of members.sort((a, b) => a.first - b.first)) {
    if (outermost?.contains(member)) demandBirth(member, undefined);
    else {
      outermost = member;
      if (!member.parent) continue;
      parents.add(member.parent);
      if (sharesWithParent(member)) sharing.add(member.parent);
    }
  }
  return { sid, parents: [...parents], sharing };
}

function mayBeBorn(node: TreeNode): boolean {
  return node.leads && node.birth === undefined;
}

function strayed(task: TreeNode, sid: number, at: TreeNode): Error {
  const why = at.leads ? `was born in session ${at.birth}` : `has always been in session ${at.sid}`;
  const reason = `it cannot have got below task ${at.pid}, which ${why}`;
  return unbuildable(task.pid, `session ${sid}`, reason);
}

function sharesWithParent({ shared, parent }: TreeNode): boolean {
  return SHARABLES.some((kind) => shared[kind] !== undefined && shared[kind] === parent?.shared[kind]);
}

function helperAt(sid: number, home: TreeNode): TreeNode {
  const helper = new TreeNode(sid, sid, home);
  // For `contains` the helper has the position of its parent.
  helper.first = home.first;
  helper.last = home.last;
  helper.depth = home.depth + 1;
  helper.birth = home.sid;
  return helper;
}

/**
 * Finds parents for the helpers. The parents of a session's members that are not in the session themselves must either
 * be above the helper, on one path to the root, or be born in the session, with all tasks between. Sessions with only
 * one possibility are placed first. If none of these is left, one session is placed above all its members, which
 * constrains others the least: leaders born in it were needed by no other session alone.
 */
class Placement {
  readonly #pending: GoneSession[];
  readonly #homes = new Map<number, TreeNode>();
  /** For each node, the sessions whose possibilities may shrink when the birth of the node is decided. */
  readonly #watchers = new Map<TreeNode, GoneSession[]>();

  constructor(sessions: GoneSession[]) {
    this.#pending = sessions;
  }

  /** Returns the parents of the helpers, by session. */
  solve(): ReadonlyMap<number, TreeNode> {
    const undecided: GoneSession[] = [];
    for (;;) {
      for (let session = this.#pending.pop(); session; session = this.#pending.pop()) {
        if (!this.#homes.has(session.sid) && !this.#narrow(session)) undecided.push(session);
      }
      const session = undecided.pop();
      if (!session) return this.#homes;
      if (!this.#homes.has(session.sid)) this.#placeOnTop(session);
    }
  }

  /**
   * Goes down from the members' nearest common ancestor while there is only one possibility. Returns false if there are
   * several.
   */
  #narrow(session: GoneSession): boolean {
    for (;;) {
      const lowest = lowestOfChain(session.parents);
      if (lowest) {
        this.#placeSession(session, lowest);
        return true;
      }
      const between = this.#between(session);
      const fixed = between.filter((node) => !mayBeBorn(node) && node.birth !== session.sid);
      if (fixed.length === 0) {
        this.#watch(session, between);
        return false;
      }
      const down = lowestOfChain(fixed);
      if (!down) {
        const [one, two] = fixed as [TreeNode, TreeNode]; // at least two: a single node would be a chain
        const reason = `tasks of the session are below it and below task ${two.pid}, and neither can have been born there`;
        throw unbuildable(one.pid, `session ${session.sid}`, reason);
      }
      for (const node of between) if (!node.contains(down)) this.#bear(node, session.sid);
      session.parents = session.parents.filter((node) => down.contains(node));
    }
  }

  /**
   * The helper becomes a child of the lowest parent. But what children share, the helper can only have from its own
   * parent. So if several parents share something, those below the helper's parent are born in the session, if
   * possible.
   */
  #placeSession({ sid, sharing }: GoneSession, lowest: TreeNode): void {
    let home = lowest;
    let left = sharing.size;
    for (let at: TreeNode | undefined = lowest; at && left > 0; at = at.parent) {
      if (sharing.has(at)) {
        home = at;
        left--;
      }
      if (!mayBeBorn(at)) break;
    }
    for (let at = lowest; at !== home && at.parent; at = at.parent) this.#bear(at, sid);
    this.#homes.set(sid, home);
  }

  #placeOnTop(session: GoneSession): void {
    for (const node of this.#between(session)) this.#bear(node, session.sid);
    this.#homes.set(session.sid, commonAncestor(session.parents));
  }

  #bear(node: TreeNode, sid: number): void {
    node.birth = sid;
    for (const session of this.#watchers.get(node) ?? []) this.#pending.push(session);
    this.#watchers.delete(node);
  }

  #watch(session: GoneSession, nodes: readonly TreeNode[]): void {
    for (const node of nodes) addTo(this.#watchers, node, session);
  }

  /** The parents of a session and all nodes between them and their nearest common ancestor, without that ancestor. */
  #between({ parents }: GoneSession): TreeNode[] {
    const top = commonAncestor(parents);
    const between = new Set<TreeNode>();
    for (const parent of parents) {
      for (let at: TreeNode | undefined = parent; at && at !== top && !between.has(at); at = at.parent) between.add(at);
    }
    return [...between];
  }
}

/** The lowest of nodes that all lie on one path to the root; undefined if they do not. */
function lowestOfChain(nodes: readonly TreeNode[]): TreeNode | undefined {
  const lowest = nodes.reduce((low, node) => (node.depth > low.depth ? node : low));
  return nodes.every((node) => node.contains(lowest)) ? lowest : undefined;
}

function commonAncestor(nodes: readonly TreeNode[]): TreeNode {
  const leftmost = nodes.reduce((left, node) => (node.first < left.first ? node : left));
  const rightmost = nodes.reduce((right, node) => (node.first > right.first ? node : right));
  let at = leftmost;
  while (!at.contains(rightmost) && at.parent) at = at.parent;
  return at;
}
