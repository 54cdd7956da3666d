/**
 * Plans for a tree whose processes are in several PID namespaces. The forks are planned as for any other; here each is
 * given its numbers, groups are made, and the whole is tried out by these rules of the kernel (kernel/fork.c,
 * kernel/exit.c, kernel/sys.c, kernel/pid_namespace.c):
 *
 * - A new process is in the namespace of its maker, or in one further in for which the maker has asked: setns(2) for a
 *   namespace that exists, CLONE_NEWPID for a new one, whose init it is then.
 * - An init makes no siblings.
 * - Nobody can name a session or a group that belongs further out than his own namespace; only by birth one gets into
 *   it, or since the parent says so.
 * - Orphans go to the nearest ancestor that is a subreaper, of the same level, and to the init of their namespace
 *   otherwise.
 */
import type { PidPlace, PidPlaces } from '../../images/pid-places.ts';
import { OUTSIDE, type Tree, type TreeNode } from './node.ts';
import { type Planting, SHARABLES, type Sharable, type TreeStep, unbuildable } from './types.ts';

const NOTHING = Object.fromEntries(SHARABLES.map((kind) => [kind, false])) as Record<Sharable, false>;

/** A process while the plan is tried out. */
interface Model {
  readonly pid: number;
  readonly place: PidPlace;
  parent: Model | undefined;
  sid: number;
  pgid: number;
  subreaper: boolean;
  readonly children: Set<Model>;
}

type Fork = Extract<TreeStep, { readonly do: 'fork' }>;

/** The steps for a tree, made of those that fork its tasks. `ends` are the steps after these. */
export class PlanAcross {
  readonly #tree: Tree;
  readonly #places: PidPlaces;
  readonly #bornPgid: number | undefined;
  /** Numbers that belong to somebody; others are those of helpers, and mean nothing. */
  readonly #known: ReadonlySet<number>;
  readonly #processes = new Map<number, Model>();
  readonly #namespaces: Set<number>;

  constructor(tree: Tree, places: PidPlaces, { bornPgid }: Planting) {
    this.#tree = tree;
    this.#places = places;
    this.#bornPgid = bornPgid;
    this.#namespaces = new Set([places.root]);
    this.#known = new Set(tree.nodes.flatMap(({ pid, sid, task }) => [pid, sid, task?.pgid ?? 0]));
    const { root, foreignGroup } = tree;
    this.#add(root.pid, places.of(root.pid), undefined, root.birth ?? OUTSIDE, foreignGroup ?? OUTSIDE);
  }

  /**
   * All steps: `forks` with what belongs to them, then the groups, then `ends`.
   * @throws StasisError kind 'unsupported' for what the kernel would refuse
   */
  *steps(forks: readonly TreeStep[], ends: readonly TreeStep[]): Generator<TreeStep> {
    for (const step of forks) {
      yield this.#take(step);
      // Who is made by it is born in its group, which some of them could not name.
      if (step.do === 'fork' && !step.helper && this.#leadsGroup(step.pid)) {
        yield this.#take({ do: 'setpgid', pid: step.pid, pgid: step.pid });
      }
    }
    yield* this.#groups();
    for (const step of ends) yield this.#take(step);
    this.#requireTree();
  }

  #leadsGroup(pid: number): boolean {
    const node = this.#tree.byPid.get(pid);
    return node !== undefined && !node.leads && node.task?.pgid === pid;
  }

  #at(pid: number): Model {
    const process = this.#processes.get(pid);
    if (process) return process;
    throw unbuildable(pid, `process ${pid}`, 'it would have to act before it is there');
  }

  #add(pid: number, place: PidPlace, parent: Model | undefined, sid: number, pgid: number): void {
    const process = { pid, place, parent, sid, pgid, subreaper: false, children: new Set<Model>() };
    parent?.children.add(process);
    this.#processes.set(pid, process);
  }

  /** Does a step, and gives it what it lacks. */
  #take(step: TreeStep): TreeStep {
    switch (step.do) {
      case 'fork':
        return this.#fork(step);
      case 'setsid':
        Object.assign(this.#at(step.pid), { sid: step.pid, pgid: step.pid });
        return step;
      case 'setpgid':
        this.#at(step.pid).pgid = step.pgid;
        return step;
      case 'subreaper':
        this.#at(step.pid).subreaper = step.on;
        return step;
      case 'end':
        this.#end(this.#at(step.pid));
        return step;
      case 'terminal':
        return step;
    }
  }

  #fork(step: Fork): Fork {
    const places = this.#places;
    const by = this.#at(step.by);
    const place = this.#placeFor(step, by);
    const { namespace } = place;
    const isInit = place.numbers.at(-1) === 1 && namespace !== places.root;
    const from = isInit ? (places.parents.get(namespace) ?? places.root) : namespace;
    const refuse = (reason: string): Error => unbuildable(step.pid, `pid namespace ${namespace}`, reason);
    if (!places.sees(by.place.namespace, from)) {
      throw refuse(`it would have to be made by task ${by.pid}, which is in another PID namespace, not further out`);
    }
    if (isInit === this.#namespaces.has(namespace)) {
      throw refuse(isInit ? 'two processes are the init of it' : 'it would have to be made before the init of it');
    }
    if (step.sibling && by.place.numbers.at(-1) === 1) {
      throw refuse(`it would have to be made by task ${by.pid} as its sibling, which is an init`);
    }
    this.#namespaces.add(namespace);
    this.#add(step.pid, place, step.sibling ? by.parent : by, by.sid, by.pgid);
    return { ...step, place };
  }

  /** The numbers of helpers that stand for nobody are the same in all namespaces. */
  #placeFor({ pid, helper }: Fork, by: Model): PidPlace {
    if (!helper || this.#known.has(pid)) return this.#places.of(pid);
    return { namespace: by.place.namespace, numbers: by.place.numbers.map(() => pid) };
  }

  #end(process: Model): void {
    const level = process.place.numbers.length;
    let reaper = process.parent;
    while (reaper && (!reaper.subreaper || reaper.place.numbers.length !== level)) reaper = reaper.parent;
    reaper ??= this.#initOf(process.place.namespace);
    for (const child of process.children) {
      child.parent = reaper;
      reaper?.children.add(child);
    }
    process.parent?.children.delete(process);
    this.#processes.delete(process.pid);
  }

  #initOf(namespace: number): Model | undefined {
    return [...this.#processes.values()].find(
      ({ place }) => place.namespace === namespace && place.numbers.at(-1) === 1,
    );
  }

  /** Moves everybody into the group it is to be in: first those that are not the leader of another one. */
  *#groups(): Generator<TreeStep> {
    const ends: TreeStep[] = [];
    const isElsewhere = (node: TreeNode): boolean => this.#at(node.pid).pgid !== wantedGroup(node);
    const moving = this.#tree.nodes.filter(isElsewhere);
    const leads = ({ pid }: TreeNode): boolean =>
      this.#tree.nodes.some((other) => other.pid !== pid && wantedGroup(other) === pid);
    for (const node of [...moving.filter((one) => !leads(one)), ...moving.filter(leads)]) {
      if (!isElsewhere(node)) continue;
      const pgid = wantedGroup(node);
      const isThere = [...this.#processes.values()].some((process) => process.pgid === pgid);
      if (!isThere && pgid !== node.pid) yield* this.#standIn(node, pgid, ends);
      yield this.#setGroup(node, pgid);
    }
    for (const end of ends) yield this.#take(end);
  }

  /** Makes a group whose leader is gone: the number of a group is the PID of the process that made it. */
  *#standIn(member: TreeNode, pgid: number, ends: TreeStep[]): Generator<TreeStep> {
    const by = member.pid;
    yield this.#take({ do: 'fork', by, pid: pgid, sibling: false, share: NOTHING, helper: true });
    yield this.#take({ do: 'setpgid', pid: pgid, pgid });
    ends.push({ do: 'end', pid: pgid, reaper: by });
  }

  #setGroup({ pid, parent }: TreeNode, pgid: number): TreeStep {
    const places = this.#places;
    const own = this.#at(pid);
    own.pgid = pgid;
    const isBorn = pgid === this.#tree.foreignGroup;
    const number = isBorn ? this.#bornPgid : pgid;
    const names = (caller: Model | undefined): boolean =>
      caller !== undefined && places.sees(caller.place.namespace, places.of(pgid).namespace);
    if (number !== undefined && names(own)) return { do: 'setpgid', pid, pgid: number };
    const outer = parent && this.#processes.get(parent.pid);
    if (number !== undefined && outer && names(outer) && outer.sid === own.sid) {
      return { do: 'setpgid', pid, pgid: number, by: outer.pid };
    }
    throw unbuildable(
      pid,
      `process group ${pgid}`,
      'neither it nor its parent can name the group, and it was not born there',
    );
  }

  /** Checks that the plan makes the tree. */
  #requireTree(): void {
    for (const node of this.#tree.nodes) {
      const { parent, sid, pgid } = this.#at(node.pid);
      const isRight = parent?.pid === node.parent?.pid && (sid === node.sid || node.sid === this.#tree.foreign);
      if (isRight && pgid === wantedGroup(node)) continue;
      const reason = `it would become a child of ${parent?.pid ?? 'nobody'}, in session ${sid} and group ${pgid}`;
      throw unbuildable(node.pid, 'its place among several PID namespaces', reason);
    }
  }
}

function wantedGroup({ task }: TreeNode): number {
  return task?.pgid ?? 0;
}
