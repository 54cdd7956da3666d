/** Builds a tree: carries out the steps of the planner until every process exists and has its memory. */

import type { HostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import { Part } from '../../base/part.ts';
import type { UndoStack } from '../../base/undo.ts';
import type { BirthTraits, RestoreContext, RestoreTask } from '../../contract/contract.ts';
import type { NamespaceIds } from '../../images/namespace-ids.ts';
import type { PidPlace } from '../../images/pid-places.ts';
import type { CoreEntry } from '../../images/schema/task.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import { W } from '../../kernel/constants/ptrace.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { CLONE } from '../../kernel/constants/tasks.ts';
import { taskKinds } from '../../kinds/registry.ts';
import type { PreparedMemory } from '../../memory/prepared.ts';
import { MADE_NAMESPACES } from '../../namespaces/made.ts';
import { bornIn } from '../../namespaces/pid/seed-inside.ts';
import { makerOf } from '../../namespaces/user/inside.ts';
import { SAVED_USER_NAMESPACES, savedUsersDownTo } from '../../namespaces/user/saved.ts';
import { Batch } from '../../tracee/batch.ts';
import { closeAll } from '../../tracee/handover.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { killTracee, reapAll } from '../../tracee/ptrace.ts';
import { type CloneRequest, Seed } from '../../tracee/seed.ts';
import type { TreeStep } from '../tree-plan/plan-tree.ts';
import { endAs, forgetChildSignal } from './deaths.ts';
import { freeArea } from './free-area.ts';
import type { HostPids } from './host-pids.ts';
import { makeTask } from './make-task.ts';
import { birthplaceOfRoot, choosePids, enterNamespaces, noteBorn } from './namespaces.ts';
import type { NextPids } from './next-pids.ts';
import { addPhase, beginPhase, runPhase } from './phases.ts';
import type { Plan, TaskPlan } from './plan.ts';
import { Sharers } from './sharers.ts';

// For trees whose user and PID namespaces do not go together.
const NEXT_PIDS = new Part(() => require('./next-pids.ts') as typeof import('./next-pids.ts'));
const INSIDE = new Part(() => require('./fork-inside.ts') as typeof import('./fork-inside.ts'));

/** A process that exists: a task being rebuilt, a helper, or a process that is to become a zombie. */
interface Member {
  readonly seed: Seed;
  readonly batch: Batch;
  readonly task: RestoreTask | undefined;
  /** The task whose memory it inherited. */
  readonly origin: RestoreTask | undefined;
  /** The namespaces it is in. */
  readonly namespaces: NamespaceIds;
  /** Its numbers in a tree of several PID namespaces. */
  readonly place: PidPlace | undefined;
  /** Whether it shares memory with the task that made it. */
  readonly sharesMemory: boolean;
  /** Whether its address space is as its children have to inherit it. */
  ready: boolean;
}

/** Builds the tasks of a tree. If the restore fails, all of them are killed. */
export class TreeBuilder {
  readonly #plan: Plan;
  readonly #context: RestoreContext;
  readonly #hosts: HostPids;
  readonly #undo: UndoStack;
  readonly #prepared: PreparedMemory | undefined;
  #nextPids: NextPids | undefined;
  readonly #members = new Map<number, Member>();
  /** Those that have ended as zombies of the tree. */
  readonly #zombies: HostPid[] = [];
  readonly #sharers: Sharers;
  /** Parents that got SIGCHLD for the end of helpers or zombies. */
  readonly #toldOfEnds = new Set<number>();

  constructor(
    plan: Plan,
    context: RestoreContext,
    hosts: HostPids,
    undo: UndoStack,
    prepared: PreparedMemory | undefined,
  ) {
    this.#prepared = prepared;
    this.#plan = plan;
    this.#hosts = hosts;
    this.#context = context;
    this.#undo = undo;
    this.#sharers = new Sharers(plan.tasks.values());
  }

  /** The living tasks, parents before their children. */
  get tasks(): readonly RestoreTask[] {
    return [...this.#plan.tasks.keys()].flatMap((pid) => this.#members.get(pid)?.task ?? []);
  }

  /**
   * Makes the root, as it is before phase `birth`, if it is in user namespaces of its own: before anything that belongs
   * to the outermost of them, in which it is born.
   */
  begin(sibling: boolean): void {
    const id = this.#usersOfRoot();
    if (id === undefined) return;
    this.#createRoot(sibling);
    const { task } = this.#at(this.#plan.root);
    if (task) noteBorn(task, 'user', id);
  }

  /** The ID of the user namespace that the root is born in; undefined for ours. */
  #usersOfRoot(): number | undefined {
    const { root, tasks, ours } = this.#plan;
    return savedUsersDownTo(this.#context, tasks.get(root)?.namespaces.user ?? ours.user)[0];
  }

  /** Makes all processes, each with its memory. At the end zombies are dead and helpers gone. */
  build(sibling: boolean): void {
    if (!this.#members.has(this.#plan.root)) this.#createRoot(sibling);
    this.#place(this.#plan.root, birthplaceOfRoot(this.#context, this.#plan));
    const { steps } = this.#plan;
    for (let at = 0; at < steps.length; ) {
      requireUninterrupted();
      at = this.#take(steps, at);
    }
    // None makes further processes: while one has its memory made, that of the next is planned.
    for (const { pid, isAlone } of this.tasks) this.#prepare(pid, isAlone ? beginPhase : runPhase);
    for (const { batch } of this.#members.values()) batch.flush();
    logDebug('all processes are there, with their memory');
    for (const [pid, { core }] of this.#plan.zombies) this.#die(pid, core);
    this.#forgetDeaths();
  }

  #createRoot(sibling: boolean): void {
    const prepared = this.#prepared;
    this.#undo.add(() => this.#killAll());
    const { root, tasks, ownPids } = this.#plan;
    const taken = new Set([...tasks.values()].flatMap(({ fds }) => fds.map(({ fd }) => fd)));
    const id = this.#usersOfRoot();
    const user = id === undefined ? undefined : makerOf(SAVED_USER_NAMESPACES.of(this.#context, id));
    const given = MADE_NAMESPACES.of(this.#context).pidsOfRoot();
    const flags = (ownPids && !given ? CLONE.NEWPID : 0n) | (user ? CLONE.NEWUSER : 0n);
    const options = { pid: root, sibling, taken, flags, user, isApart: ownPids };
    const seed = prepared?.take() ?? bornIn(given, () => Seed.create(options, freeArea(tasks)));
    this.#admit(root, seed, undefined, birthplaceOfRoot(this.#context, this.#plan));
    seed.kin.setNext = (namespace, numbers) => {
      this.#nextPids ??= new (NEXT_PIDS.load().NextPids)(this.#plan, this.#context);
      this.#nextPids.set(namespace, numbers);
    };
    seed.kin.isApart = ownPids;
    const member = this.#at(root);
    // Closes descriptors that the seed has inherited from Stasis.
    closeAll(seed, member.batch);
    member.batch.flush();
  }

  /** Adds a new process, which has the namespaces `born`. */
  #admit(pid: number, seed: Seed, origin: RestoreTask | undefined, born: NamespaceIds): void {
    const plan = this.#plan.tasks.get(pid);
    const shares = this.#sharers.sharesOf(plan);
    const batch = new Batch(seed.remote);
    const isAlone = plan !== undefined && this.#sharers.isAlone(plan);
    const task = plan && makeTask(plan, this.#context, seed, batch, origin, shares, isAlone);
    const before = this.#members.get(pid);
    const sharesMemory = before?.sharesMemory ?? false;
    const place = before?.place ?? this.#plan.places?.of(pid);
    const namespaces = plan?.namespaces ?? before?.namespaces ?? born;
    this.#hosts.note(pid, seed.tracee.pid);
    this.#members.set(pid, { seed, batch, task, origin, namespaces, place, sharesMemory, ready: shares.vm });
  }

  /** Has a new task enter its namespaces, coming from `born`, and go through phase `birth`. */
  #place(pid: number, born: NamespaceIds): void {
    const { task, namespaces } = this.#at(pid);
    if (!task) return;
    enterNamespaces(task, born, namespaces, this.#plan.ours, 'born');
    addPhase(task, 'birth');
    enterNamespaces(task, born, namespaces, this.#plan.ours, 'placed');
  }

  #at(pid: number): Member {
    const member = this.#members.get(pid);
    if (member) return member;
    throw new StasisError({
      kind: 'internal',
      task: { pid },
      reason: 'a step of the plan needs a task that is not there',
    });
  }

  /** Carries out one step, or several forks by the same task at once. Returns the index of the next step. */
  #take(steps: readonly TreeStep[], at: number): number {
    const step = steps[at] as TreeStep; // at < length
    switch (step.do) {
      case 'fork':
        return this.#fork(steps, at, step.by);
      case 'setsid':
        this.#call(step.pid, (batch) => batch.call('setsid'));
        break;
      case 'setpgid':
        this.#setGroup(step.pid, step.pgid, step.by);
        break;
      case 'subreaper':
        this.#call(step.pid, (batch) => batch.call('prctl', PR.SET_CHILD_SUBREAPER, step.on ? 1 : 0, 0, 0, 0));
        break;
      case 'terminal': {
        const { task } = this.#at(step.pid);
        if (task) runPhase(task, 'terminal');
        break;
      }
      case 'end':
        this.#end(step.pid, step.reaper);
        break;
    }
    return at + 1;
  }

  #call(pid: number, work: (batch: Batch) => void): void {
    const { batch } = this.#at(pid);
    work(batch);
    batch.flush();
  }

  /** Puts a process into a group: it does so itself, or its parent. */
  #setGroup(pid: number, pgid: number, by = pid): void {
    const { places } = this.#plan;
    const whose = by === pid ? 0 : this.#numberFor(by, this.#at(pid));
    const group = places?.numberIn(this.#at(by).place?.namespace ?? places.root, pgid) ?? pgid;
    this.#call(by, (batch) => batch.call('setpgid', whose, group));
  }

  /** What one process calls another. */
  #numberFor(by: number, { place, seed }: Member): number {
    const level = this.#at(by).place?.numbers.length ?? 1;
    return place?.numbers[level - 1] ?? seed.tracee.pid;
  }

  #fork(steps: readonly TreeStep[], at: number, by: number): number {
    const maker = this.#at(by);
    const requests: (CloneRequest & { helper: boolean; place?: PidPlace })[] = [];
    const way = wayInto(steps[at], maker.place);
    // The user namespaces in which the new init has to be born, since its PID namespace belongs to the last of them.
    const users = way === 'init' ? INSIDE.load().usersFor(steps[at], maker.namespaces, this.#context) : [];
    for (let step = steps[at]; step?.do === 'fork' && step.by === by; step = steps[++at]) {
      if (wayInto(step, maker.place) !== way || (users.length > 0 && requests.length > 0)) break;
      const task = this.#plan.tasks.get(step.pid) ?? this.#plan.zombies.get(step.pid);
      const numbers = step.place?.numbers.toReversed();
      const further = { isInit: way === 'init', isFurtherIn: way !== 'own', namespace: step.place?.namespace };
      requests.push({ ...step, ...(task ? traitsOf(task) : PLAIN_TRAITS), numbers, ...further });
    }
    if (requests.some(({ pid, share }) => share.vm || this.#plan.tasks.has(pid))) this.#prepare(by);
    maker.batch.flush();
    const reap = (pid: HostPid, parent: number): void => this.#reapSibling(pid, parent);
    const { seed } = maker;
    const [first] = requests;
    const seeds =
      typeof way === 'number'
        ? this.#forkInto(way, maker, requests, reap)
        : first && users.length > 0
          ? this.#forkFrom(users, by, first, reap)
          : seed.fork(requests, reap);
    if (seed.discarded) this.#toldOfEnds.add(by);
    const origin = maker.task && maker.ready ? maker.task : maker.origin;
    const born = { ...maker.namespaces, user: users.at(-1) ?? maker.namespaces.user };
    // All are recorded before anything else can fail, so that they can be killed.
    seeds.forEach((seed, i) => {
      const sharesMemory = requests[i]?.share.vm ?? false;
      const batch = new Batch(seed.remote);
      const place = requests[i]?.place;
      const namespaces = place ? { ...born, pid: place.namespace } : born;
      this.#members.set(requests[i]?.pid ?? seed.tracee.pid, {
        seed,
        batch,
        task: undefined,
        origin,
        namespaces,
        place,
        sharesMemory,
        ready: false,
      });
    });
    seeds.forEach((seed, i) => {
      const request = requests[i];
      if (!request || request.helper) return;
      this.#admit(request.pid, seed, origin, born);
      this.#place(request.pid, born);
    });
    return at;
  }

  /** Has a process make the init of a new PID namespace in a user namespace further in. */
  #forkFrom(users: readonly number[], by: number, request: CloneRequest, reap: Parameters<Seed['fork']>[1]): Seed[] {
    const maker = this.#at(by);
    const pid = this.#plan.spares.next().value ?? request.pid;
    const numbers = maker.place?.numbers.map(() => pid);
    const place = maker.place && { ...maker.place, numbers: numbers ?? [] };
    const note = (helper: Pick<Member, 'seed' | 'batch'>): void => {
      this.#members.set(pid, { ...maker, ...helper, task: undefined, place, ready: true });
    };
    const helper = { pid, numbers };
    const made = INSIDE.load().forkInUsers(maker.seed, users, request, helper, this.#context, note, reap);
    this.#end(pid, by);
    return made;
  }

  /** Has a process make others in a PID namespace further in, whose init exists. */
  #forkInto(
    namespace: number,
    { seed, batch, namespaces }: Member,
    requests: readonly CloneRequest[],
    reapSibling: Parameters<Seed['fork']>[1],
  ): Seed[] {
    choosePids(this.#context, seed, batch, namespace);
    const seeds = seed.fork(requests, reapSibling);
    choosePids(this.#context, seed, batch, namespaces.pid);
    return seeds;
  }

  /** Rebuilds the memory of a task, unless that is done. */
  #prepare(pid: number, run: typeof runPhase = runPhase): void {
    const member = this.#at(pid);
    if (member.ready || !member.task) return;
    member.ready = true;
    run(member.task, 'memory');
    logDebug(`task ${pid} has its memory`);
  }

  /** Ends a helper. Only its parent can reap it, so the parent does. */
  #end(pid: number, reaper: number): void {
    const member = this.#at(pid);
    const { tracee } = member.seed;
    const number = this.#plan.places ? this.#numberFor(reaper, member) : pid;
    killTracee(tracee.pid);
    tracee.awaitEnd();
    this.#members.delete(pid);
    this.#toldOfEnds.add(reaper);
    this.#call(reaper, (batch) => batch.call('wait4', number, 0, W.ALL, 0));
  }

  /** Has the parent of a sibling of a maker that has ended reap it. */
  #reapSibling(pid: HostPid, parent: number): void {
    const [above] = [...this.#members].filter(([, { seed }]) => seed.tracee.pid === parent);
    if (!above) return;
    above[1].seed.reap(pid);
    this.#toldOfEnds.add(above[0]);
  }

  /** Makes a zombie: the process ends in the way the saved one had ended. */
  #die(pid: number, core: CoreEntry): void {
    const { seed, batch, sharesMemory } = this.#at(pid);
    endAs(core, seed, batch, sharesMemory, pid);
    this.#members.delete(pid);
    this.#zombies.push(seed.tracee.pid);
    const parent = this.#plan.parents.get(pid);
    if (parent !== undefined) this.#toldOfEnds.add(parent);
  }

  /** Removes the SIGCHLD of these ends. Signals that were pending at the dump are queued again later. */
  #forgetDeaths(): void {
    for (const pid of this.#toldOfEnds) {
      const member = this.#members.get(pid);
      if (member) forgetChildSignal(member.batch);
    }
  }

  /**
   * Kills all processes. Since Stasis is a subreaper, processes whose parents are dead become its children and can be
   * reaped.
   */
  #killAll(): void {
    const seeds = [...this.#members.values()].map(({ seed }) => seed);
    // None is waited for while others live: an init ends after all others of its namespace.
    const left = seeds.flatMap((seed) => seed.kill());
    reapAll([...new Set([...left, ...this.#zombies])]);
  }
}

/**
 * How a process gets into its PID namespace: it is that of its maker, a new one, or the one with this ID, which its
 * maker has to ask for.
 */
function wayInto(step: TreeStep | undefined, maker: PidPlace | undefined): 'own' | 'init' | number {
  const place = step?.do === 'fork' ? step.place : undefined;
  if (!place || !maker || place.namespace === maker.namespace) return 'own';
  return place.numbers.at(-1) === 1 ? 'init' : place.namespace;
}

/** The usual properties of a new process. */
const PLAIN_TRAITS: BirthTraits = { exitSignal: SIG.CHLD };

function traitsOf(plan: Pick<TaskPlan, 'ownState'>): BirthTraits {
  return Object.assign({ ...PLAIN_TRAITS }, ...taskKinds.map((kind) => kind.born?.(plan)));
}
