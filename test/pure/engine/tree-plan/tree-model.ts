/**
 * A small model of what a kernel does with processes, for the tests of the tree planner: fork, setsid, setpgid, exit,
 * wait and subreapers by the kernel's rules, errors included. It makes random trees, and it carries out plans.
 */
import type { Planting, TreeStep, TreeTask } from '../../../../src/engine/tree-plan/plan-tree.ts';

export const KINDS = ['vm', 'sighand', 'files', 'fs'] as const;
export type Share = Record<(typeof KINDS)[number], boolean>;
export const NO_SHARE: Share = { vm: false, sighand: false, files: false, fs: false };

/** A process of the model. */
export interface Process extends Record<(typeof KINDS)[number], number> {
  readonly pid: number;
  parent: Process | undefined;
  children: Set<Process>;
  sid: number;
  pgid: number;
  leader: boolean;
  zombie: boolean;
  subreaper: boolean;
  /** An ancestor was one at some time: only then the kernel looks for one. */
  underSubreaper: boolean;
  terminal: boolean;
}

/** The processes of a machine: init is 1, a shell leads a session, and has a job, which starts trees. */
export class Machine {
  readonly processes = new Map<number, Process>();
  readonly #sessions = new Map<number, number>();
  readonly #groups = new Map<number, number>();
  #ids = 0;

  constructor(shellPid: number, jobPid: number) {
    const init = this.#add(1, undefined, undefined, NO_SHARE);
    const shell = this.#add(shellPid, init, init, NO_SHARE);
    this.setsid(shellPid);
    this.#add(jobPid, shell, shell, NO_SHARE);
    this.setpgid(jobPid, jobPid);
  }

  at(pid: number): Process {
    const process = this.processes.get(pid);
    if (!process) throw new Error(`ESRCH: ${pid}`);
    return process;
  }

  alive(pid: number): Process {
    const process = this.at(pid);
    if (process.zombie) throw new Error(`ESRCH: ${pid} is a zombie`);
    return process;
  }

  inUse(pid: number): boolean {
    return this.processes.has(pid) || this.#sessions.has(pid) || this.#groups.has(pid);
  }

  fork(by: number, pid: number, share: Share = NO_SHARE, sibling = false): Process {
    const forker = this.alive(by);
    if (pid <= 0 || this.inUse(pid)) throw new Error(`EEXIST: fork of ${pid}`);
    if (share.sighand && !share.vm) throw new Error(`EINVAL: fork of ${pid} with handlers shared and no memory`);
    return this.#add(pid, sibling ? forker.parent : forker, forker, share);
  }

  #add(pid: number, parent: Process | undefined, forker: Process | undefined, share: Share): Process {
    const process: Process = {
      pid,
      parent,
      children: new Set(),
      sid: forker?.sid ?? 0,
      pgid: forker?.pgid ?? 0,
      leader: false,
      zombie: false,
      subreaper: false,
      underSubreaper: parent ? parent.subreaper || parent.underSubreaper : false,
      terminal: forker?.terminal ?? false,
      vm: share.vm && forker ? forker.vm : ++this.#ids,
      sighand: share.sighand && forker ? forker.sighand : ++this.#ids,
      files: share.files && forker ? forker.files : ++this.#ids,
      fs: share.fs && forker ? forker.fs : ++this.#ids,
    };
    parent?.children.add(process);
    this.processes.set(pid, process);
    count(this.#sessions, process.sid, 1);
    count(this.#groups, process.pgid, 1);
    return process;
  }

  setsid(pid: number): void {
    const process = this.alive(pid);
    if (process.leader || this.#groups.has(pid)) throw new Error(`EPERM: setsid by ${pid}`);
    count(this.#sessions, process.sid, -1);
    count(this.#sessions, pid, 1);
    process.leader = true;
    process.terminal = false;
    process.sid = pid;
    this.#join(process, pid);
  }

  setpgid(pid: number, pgid: number): void {
    const process = this.alive(pid);
    if (process.leader) throw new Error(`EPERM: setpgid by session leader ${pid}`);
    if (pgid !== pid && this.#sessionOf(pgid) !== process.sid) throw new Error(`EPERM: setpgid(${pid}, ${pgid})`);
    this.#join(process, pgid);
  }

  #join(process: Process, pgid: number): void {
    count(this.#groups, process.pgid, -1);
    count(this.#groups, pgid, 1);
    if (process.pgid !== pgid) this.#where.get(process.pgid)?.delete(process);
    process.pgid = pgid;
    this.#members(pgid).add(process);
  }

  readonly #where = new Map<number, Set<Process>>();

  #members(pgid: number): Set<Process> {
    const members = this.#where.get(pgid) ?? new Set();
    this.#where.set(pgid, members);
    return members;
  }

  #sessionOf(pgid: number): number | undefined {
    // Whoever came into the group by fork is in its session as well: any member will do.
    for (const process of this.#where.get(pgid) ?? []) {
      if (this.processes.get(process.pid) === process && process.pgid === pgid) return process.sid;
    }
    for (const { pgid: at, sid } of this.processes.values()) if (at === pgid) return sid;
    return undefined;
  }

  terminal(pid: number): void {
    const process = this.alive(pid);
    if (!process.leader || process.terminal) throw new Error(`EPERM: terminal for ${pid}`);
    process.terminal = true;
  }

  setSubreaper(pid: number, on: boolean): void {
    const process = this.alive(pid);
    process.subreaper = on;
    if (!on) return;
    const below = [...process.children];
    for (let at = below.pop(); at; at = below.pop()) {
      if (at.underSubreaper) continue;
      at.underSubreaper = true;
      below.push(...at.children);
    }
  }

  exit(pid: number): void {
    const process = this.alive(pid);
    process.zombie = true;
    process.terminal = false;
    let reaper = this.at(1);
    if (process.underSubreaper) {
      for (let at = process.parent; at; at = at.parent) {
        if (!at.subreaper || at.zombie) continue;
        reaper = at;
        break;
      }
    }
    for (const child of process.children) {
      child.parent = reaper;
      reaper.children.add(child);
    }
    process.children.clear();
  }

  wait(pid: number, child: number): void {
    const parent = this.alive(pid);
    const process = this.at(child);
    if (process.parent !== parent || !process.zombie) throw new Error(`ECHILD: ${pid} waits for ${child}`);
    parent.children.delete(process);
    this.processes.delete(child);
    this.#where.get(process.pgid)?.delete(process);
    count(this.#sessions, process.sid, -1);
    count(this.#groups, process.pgid, -1);
  }

  /** A process and all below it, parents first, as the images tell of them. */
  tree(root: number): TreeTask[] {
    const found: TreeTask[] = [];
    const todo = [this.at(root)];
    for (let at = todo.pop(); at; at = todo.pop()) {
      const { pid, pgid, sid, zombie, subreaper, leader, terminal, vm, sighand, files, fs } = at;
      const task = { pid, ppid: pid === root ? 0 : (at.parent?.pid ?? 0), pgid, sid, zombie, subreaper };
      const shared = { vm, sighand, files, fs };
      found.push(zombie ? { ...task, subreaper: false } : { ...task, shared, terminal: leader && terminal });
      todo.push(...[...at.children].reverse());
    }
    return found;
  }
}

/** Who makes trees again, other than those who first had them. */
const SHELL = 2;
export const JOB = 3;

/** Numbers a map's keys are counted by; those not counted are not there. */
function count(counts: Map<number, number>, key: number, change: number): void {
  const now = (counts.get(key) ?? 0) + change;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}

/**
 * Carries out a plan on a new machine, zombies' ends included.
 * @throws Error where the kernel would refuse a step, or where a helper is left
 */
export function simulate(steps: readonly TreeStep[], tasks: readonly TreeTask[], planting: Planting): TreeTask[] {
  const machine = new Machine(SHELL, JOB);
  const root = tasks.find(({ ppid }) => ppid === 0)?.pid ?? 0;
  machine.fork(JOB, root);
  const helpers = new Set<number>();
  for (const step of steps) {
    switch (step.do) {
      case 'fork':
        machine.fork(step.by, step.pid, step.share, step.sibling);
        if (step.helper) helpers.add(step.pid);
        break;
      case 'setsid':
        machine.setsid(step.pid);
        break;
      case 'setpgid':
        machine.setpgid(step.pid, step.pgid);
        break;
      case 'terminal':
        machine.terminal(step.pid);
        break;
      case 'subreaper':
        machine.setSubreaper(step.pid, step.on);
        break;
      case 'end':
        if (!helpers.delete(step.pid)) throw new Error(`${step.pid} is no helper`);
        machine.exit(step.pid);
        machine.wait(step.reaper, step.pid);
        break;
    }
  }
  if (helpers.size > 0) throw new Error(`helpers left: ${[...helpers]}`);
  for (const { pid, zombie } of tasks) if (zombie) machine.exit(pid);
  return asSaved(machine.tree(root), tasks, planting);
}

/** Session and group of who plants the tree, with the numbers they have in the images. */
function asSaved(made: readonly TreeTask[], tasks: readonly TreeTask[], { joins, isTaken }: Planting): TreeTask[] {
  const root = tasks.find(({ ppid }) => ppid === 0);
  if (!root || !joins) return [...made];
  const leads = root.sid === root.pid;
  const isOurs = (number: number) => tasks.some(({ pid }) => pid === number);
  const taken = (number: number) => !isOurs(number) && isTaken?.(number);
  // If the root leads its session, tasks below it may have stayed in one that is somebody else's now.
  const member = leads ? tasks.find((task) => taken(task.sid)) : root;
  if (!member) return [...made];
  const inTaken = tasks.find((task) => task.sid === member.sid && taken(task.pgid));
  const group = leads ? (inTaken?.pgid ?? member.sid) : isOurs(root.pgid) ? root.sid : root.pgid;
  return made.map((task) => ({
    ...task,
    sid: task.sid === SHELL ? member.sid : task.sid,
    pgid: task.pgid === JOB ? group : task.pgid,
  }));
}

/** Two trees made comparable: sorted, and what is shared numbered by who shares it. */
export function comparable(tasks: readonly TreeTask[]): unknown[] {
  const sorted = [...tasks].sort((a, b) => a.pid - b.pid);
  const first = new Map<string, number>();
  return sorted.map(({ pid, ppid, pgid, sid, zombie, subreaper, shared, terminal }) => {
    const sharing = KINDS.map((kind) => {
      if (!shared) return 0;
      const key = `${kind} ${shared[kind]}`;
      if (!first.has(key)) first.set(key, pid);
      return first.get(key);
    });
    return { pid, ppid, pgid, sid, zombie, subreaper, sharing, terminal: terminal ?? false };
  });
}

/** What kind of life a random tree has had. */
export interface Life {
  readonly seed: number;
  readonly events: number;
  /** Chance in 100 that a fork shares something. */
  readonly sharing: number;
  /** The root stays in the session it is born in. */
  readonly job: boolean;
}

/** A random tree that a kernel can have: the end of a random history. The root is task 100 or above. */
export function randomTree({ seed, events, sharing, job }: Life): TreeTask[] {
  const random = generator(seed);
  const below = (n: number) => Math.floor(random() * n);
  const chance = (percent: number) => random() * 100 < percent;
  const machine = new Machine(90, 100);
  const root = 101;
  machine.fork(100, root);
  if (!job && chance(70)) machine.setsid(root);
  let next = 102;
  const living: number[] = [root];

  const freshPid = () => {
    // Some PIDs are those of tasks that are gone.
    for (let tries = 0; tries < 3; tries++) {
      const pid = 102 + below(next - 101);
      if (chance(20) && !machine.inUse(pid)) return pid;
    }
    while (machine.inUse(next)) next++;
    return next;
  };
  const anyone = () => living[below(living.length)] ?? root;
  const share = (): Share => {
    if (!chance(sharing)) return NO_SHARE;
    const vm = chance(40);
    return { vm, sighand: vm && chance(50), files: chance(50), fs: chance(50) };
  };
  const attempt = (what: () => void) => {
    try {
      what();
    } catch (error) {
      if (!/^(EPERM|EEXIST|ECHILD)/.test((error as Error).message)) throw error;
    }
  };
  const event = () => {
    const pid = anyone();
    const dice = below(100);
    if (dice < 45) {
      const child = freshPid();
      machine.fork(pid, child, share(), pid !== root && chance(20));
      living.push(child);
    } else if (dice < 60) {
      if (pid !== root || !job) attempt(() => machine.setsid(pid));
    } else if (dice < 75) {
      const group = chance(40) ? pid : machine.at(anyone()).pgid;
      attempt(() => machine.setpgid(pid, group));
    } else if (dice < 83) machine.setSubreaper(pid, chance(70));
    else if (dice < 93) {
      if (pid !== root) {
        machine.exit(pid);
        living.splice(living.indexOf(pid), 1);
      }
    } else {
      const zombie = [...machine.at(pid).children].find((child) => child.zombie);
      if (zombie) machine.wait(pid, zombie.pid);
    }
  };
  for (let i = 0; i < events; i++) event();
  // Without --shell-job the root must have got a session of its own; if it cannot, there is no such tree.
  const { pgid, leader } = machine.at(root);
  if (!job && !leader) {
    if (pgid === root || [...machine.processes.values()].some((process) => process.pgid === root)) {
      return randomTree({ seed: seed + 1e6, events, sharing, job });
    }
    machine.setsid(root);
  }
  for (const process of machine.processes.values()) {
    if (process.leader && !process.zombie && process.pid > 100 && chance(50)) process.terminal = true;
  }
  return machine.tree(root);
}

/**
 * A random tree whose tasks never rest: those made last make most of the others, as children or as siblings; a third
 * begin sessions, a tenth exit, and many are subreapers for a while.
 * @param size how many tasks are made; some of them have gone at the end
 */
export function restlessTree(seed: number, size: number): TreeTask[] {
  const random = generator(seed);
  const below = (n: number) => Math.floor(random() * n);
  const machine = new Machine(90, 100);
  const root = 101;
  machine.fork(100, root);
  machine.setsid(root);
  machine.setSubreaper(root, true);
  const made = [root + 1];
  machine.fork(root, root + 1);
  const lives = (pid: number) => machine.processes.get(pid)?.zombie === false;
  while (made.length < size) {
    const dice = below(31);
    const chance = below(2) === 0;
    if (dice < 10) {
      let youngest = Math.floor(made.length * 0.9) + Math.floor(below(made.length) / 10);
      while (!lives(made[youngest] ?? root)) youngest--;
      const pid = root + 1 + made.length;
      machine.fork(made[youngest] ?? root, pid, NO_SHARE, chance);
      made.push(pid);
      continue;
    }
    // The first one makes others if nobody else is left.
    const at = dice < 17 ? below(made.length) : 1 + below(made.length);
    const pid = made[at];
    if (pid === undefined || !lives(pid)) continue;
    if (dice < 17) {
      if (!machine.at(pid).leader) machine.setsid(pid);
    } else if (dice < 27) machine.setSubreaper(pid, chance);
    else {
      const { parent } = machine.at(pid);
      machine.exit(pid);
      if (dice < 30 && parent) machine.wait(parent.pid, pid);
    }
  }
  return machine.tree(root);
}

/** Random numbers from 0 up to 1, the same ones for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
