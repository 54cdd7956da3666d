/**
 * Decides the birth sessions of all tasks, and who forks whom, where {@link decideBirths} cannot: in trees whose tasks
 * were below others once, and came to where they are when a process between them ended.
 *
 * The rule everything rests on: whatever a task's parent is, it is among the task's *makers*: who forked it, who forked
 * that, and so on. (The parent is the caller of clone(2) or, with CLONE_PARENT, the caller's parent;
 * later it is a subreaper that was an ancestor.) The other way round, a tree can be made if everybody's parent is among
 * the makers: each task is forked as the child of a helper, and the helpers end when all exist, the lowest first.
 *
 * So what is sought is an order of nodes by makers. In it
 * - a parent is above its children, and the leader of a session above all that are born in the session;
 * - what is above a node that is born in a session is above the session's leader, too, or is born in that session.
 *
 * The second rule leaves a choice for session leaders alone: each is either born in a session or above its leader. The
 * search follows what is forced, tries what is left, and goes back where it contradicts itself.
 */

import { ForkOrder } from './fork-order.ts';
import { OUTSIDE, type Tree, TreeNode } from './node.ts';

/** Trees with more nodes are not searched: the order has a bit for each pair. */
const MANY_NODES = 4000;
/**
 * How many choices for each node are tried before the search begins anew in another sequence, or is given up. Trees of
 * hundreds of tasks need no more than one for each; what a wrong choice has spoilt is found only far below it.
 */
const PATIENCE = 4;
/** The sequences in which leaders, and the sessions each may be born in, are tried: from the first or from the last. */
const SEQUENCES = [
  { leaders: 1, sessions: 1 },
  { leaders: -1, sessions: 1 },
  { leaders: 1, sessions: -1 },
  { leaders: -1, sessions: -1 },
] as const;
type Sequence = (typeof SEQUENCES)[number];
/** The node that stands for whoever makes the root. */
const MAKER = 0;
const UNDECIDED = -1;

/** What the search finds. */
export interface Births {
  /** All nodes, the helpers included, after one that stands for the maker of the root. */
  readonly nodes: readonly TreeNode[];
  /** Stand in for the leaders of sessions that are gone. */
  readonly helpers: readonly TreeNode[];
  readonly order: ForkOrder;
  /** For each node the number of the leader of the session it is born in. */
  readonly birthLeaders: readonly number[];
}

/** How far the search was when a choice was made. */
interface Mark {
  readonly order: number;
  readonly decided: number;
  readonly wanted: number;
}

/** Returns undefined if there is no such order, or if the search takes too long. */
export function searchBirths(tree: Tree): Births | undefined {
  const helpers = helpersFor(tree);
  const maker = new TreeNode(OUTSIDE, tree.foreign ?? OUTSIDE, undefined);
  const nodes = [maker, ...tree.nodes, ...helpers];
  if (nodes.length > MANY_NODES) return undefined;
  for (const sequence of SEQUENCES) {
    const search = new Search(nodes, sequence);
    const result = search.run();
    if (result === 'found') return { nodes, helpers, order: search.order, birthLeaders: search.birthLeaders };
    if (result === 'impossible') return undefined;
  }
  return undefined;
}

/** A helper for each session that has members, but whose leader is gone. */
function helpersFor({ nodes, byPid, foreign }: Tree): TreeNode[] {
  const gone = new Set(nodes.flatMap(({ sid }) => (sid === foreign || byPid.has(sid) ? [] : [sid])));
  return [...gone].map((sid) => new TreeNode(sid, sid, undefined));
}

/** Nodes are numbers here, their places in the list. */
class Search {
  readonly order: ForkOrder;
  readonly birthLeaders: number[];
  readonly #nodes: readonly TreeNode[];
  readonly #sequence: Sequence;
  /** For each session the number of its leader. */
  readonly #leaders: ReadonlyMap<number, number>;
  /** For each leader whose birth is undecided, the leaders of sessions that nodes below it are born in. */
  readonly #wanted: readonly number[][];
  /** The leaders whose birth was decided, and those that #wanted got entries for, in the order in which that was. */
  readonly #decided: number[] = [];
  readonly #wantedBy: number[] = [];
  /** Pairs that follow from what is there and have still to be added. */
  #implied: [above: number, below: number][] = [];

  constructor(nodes: readonly TreeNode[], sequence: Sequence) {
    this.#nodes = nodes;
    this.#sequence = sequence;
    this.order = new ForkOrder(nodes.length);
    this.#leaders = new Map(nodes.flatMap(({ leads, sid }, at) => (leads || at === MAKER ? [[sid, at]] : [])));
    this.birthLeaders = nodes.map((_, at) => (at === MAKER ? MAKER : UNDECIDED));
    this.#wanted = nodes.map(() => []);
  }

  /** Decides everything, if it can. */
  run(): 'found' | 'impossible' | 'too long' {
    this.#start();
    const choices: { mark: Mark; options: Iterator<() => void> }[] = [];
    let sound = this.#propagate();
    for (let patience = PATIENCE * this.#nodes.length; patience > 0; patience--) {
      if (sound) {
        const options = this.#nextOptions();
        if (!options) return 'found';
        choices.push({ mark: this.#mark(), options });
      }
      const choice = choices.at(-1);
      if (!choice) return 'impossible';
      const { done, value: choose } = choice.options.next();
      if (done) {
        choices.pop();
        const before = choices.at(-1);
        if (!before) return 'impossible';
        this.#backTo(before.mark);
        sound = false;
        continue;
      }
      choose();
      sound = this.#propagate();
      if (!sound) this.#backTo(choice.mark);
    }
    return 'too long';
  }

  /** Enters what the tree itself says. */
  #start(): void {
    const numbers = new Map(this.#nodes.map((node, at) => [node, at]));
    const root = MAKER + 1;
    this.birthLeaders[root] = MAKER;
    for (const [at, { leads, sid, parent }] of this.#nodes.entries()) {
      if (at === MAKER) continue;
      this.#implied.push([MAKER, at]);
      if (at !== root) this.#implied.push([root, at]);
      const above = parent && numbers.get(parent);
      if (above !== undefined) this.#implied.push([above, at]);
      if (leads || at === root) continue;
      const leader = this.#leaderOf(sid);
      this.birthLeaders[at] = leader;
      this.#implied.push([leader, at]);
    }
  }

  #leaderOf(sid: number): number {
    return this.#leaders.get(sid) ?? MAKER;
  }

  /** Adds all pairs that are implied. Returns false if they contradict the order. */
  #propagate(): boolean {
    for (let pair = this.#implied.pop(); pair; pair = this.#implied.pop()) {
      if (this.order.add(...pair, (above, below) => this.#follow(above, below))) continue;
      this.#implied = [];
      return false;
    }
    return true;
  }

  /** Follows what a new pair implies. */
  #follow(above: number, below: number): void {
    const leader = this.birthLeaders[below] ?? UNDECIDED;
    if (leader !== UNDECIDED) this.#meet(above, leader);
    else if (this.#wanted[below]?.includes(above)) this.#decide(below, above);
  }

  /** A node is above one that is born in the session of `leader`: it is born there, too, or above the leader. */
  #meet(node: number, leader: number): void {
    if (node === leader || this.order.isAbove(node, leader)) return;
    const birth = this.birthLeaders[node];
    if (birth === leader) return;
    if (birth !== UNDECIDED) this.#implied.push([node, leader]);
    else if (this.order.isAbove(leader, node)) this.#decide(node, leader);
    else if (!this.#wanted[node]?.includes(leader)) {
      this.#wanted[node]?.push(leader);
      this.#wantedBy.push(node);
    }
  }

  /** Decides that a session leader is born in the session of another one. */
  #decide(node: number, leader: number): void {
    this.birthLeaders[node] = leader;
    this.#decided.push(node);
    this.#implied.push([leader, node]);
    for (const above of [...this.order.allAbove(node)]) this.#meet(above, leader);
    for (const other of this.#wanted[node] ?? []) if (other !== leader) this.#implied.push([node, other]);
  }

  /** The ways in which the next choice can be made; undefined if all is decided. */
  #nextOptions(): Iterator<() => void> | undefined {
    let undecided: number | undefined;
    const leaders = [...this.#leaders.values()];
    for (const node of this.#sequence.leaders > 0 ? leaders : leaders.reverse()) {
      if (this.birthLeaders[node] !== UNDECIDED) continue;
      const wanted = (this.#wanted[node] ?? []).filter((leader) => !this.order.isAbove(node, leader));
      if (wanted.length === 0) {
        undecided ??= node;
        continue;
      }
      return this.#wantedOptions(node, this.#sequence.sessions > 0 ? wanted : wanted.reverse());
    }
    return undecided === undefined ? undefined : this.#freeOptions(undecided);
  }

  /** To be born in one of the sessions that nodes below are born in, or above all their leaders. */
  *#wantedOptions(node: number, wanted: readonly number[]): Generator<() => void, undefined> {
    for (const leader of wanted) yield () => this.#decide(node, leader);
    yield () => this.#implied.push(...wanted.map((leader): [number, number] => [node, leader]));
  }

  /** For a leader that may be born anywhere: the session of its parent, or one of those of the nodes above it. */
  *#freeOptions(node: number): Generator<() => void, undefined> {
    const tried = new Set<number>();
    const parent = this.#nodes[node]?.parent;
    if (parent) {
      const leader = this.#leaderOf(parent.sid);
      tried.add(leader);
      yield () => this.#decide(node, leader);
    }
    const lowestFirst = [...this.order.allAbove(node)]
      .map((above) => ({ above, count: this.order.countAbove(above) }))
      .sort((a, b) => b.count - a.count);
    for (const { above } of lowestFirst) {
      for (const leader of [
        this.#leaderOf(this.#nodes[above]?.sid ?? OUTSIDE),
        this.birthLeaders[above] ?? UNDECIDED,
      ]) {
        if (leader === UNDECIDED || tried.has(leader)) continue;
        tried.add(leader);
        yield () => this.#decide(node, leader);
      }
    }
  }

  #mark(): Mark {
    return { order: this.order.mark, decided: this.#decided.length, wanted: this.#wantedBy.length };
  }

  #backTo({ order, decided, wanted }: Mark): void {
    this.order.backTo(order);
    for (const node of this.#decided.splice(decided)) this.birthLeaders[node] = UNDECIDED;
    for (const node of this.#wantedBy.splice(wanted)) this.#wanted[node]?.pop();
  }
}
