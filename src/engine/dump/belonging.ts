/**
 * Checks whether a restore could make the processes of a tree again, by running the planner of the restore, and whether
 * the numbers that its plan needs will be free. A session or group that a process outside of the tree is in keeps its
 * number from being used as a PID, even after the tree has ended (kernel/proc/holders.ts).
 */
import { hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import type { NoticeFacts } from '../../base/notice.ts';
import type { SeenTask, SeenTree } from '../../contract/contract.ts';
import { Slot } from '../../contract/slots.ts';
import { tryReadLink } from '../../kernel/files.ts';
import { namesOf } from '../../kernel/pid-in-use.ts';
import { commOf, type Membership, memberships } from '../../kernel/proc/holders.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcStat, parseStat } from '../../kernel/proc/stat.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { PID_PLACES } from '../../namespaces/pid/seen.ts';
import { type Claim, claimsOf } from '../tree-plan/claims.ts';
import { planTree, type TreeTask } from '../tree-plan/plan-tree.ts';
import { OBJECTS, type ObjectIds } from './object-ids.ts';

/** The findings about a tree's sessions, groups and shared resources. */
export interface Belonging {
  readonly obstacles: readonly StasisError[];
  readonly notices: readonly NoticeFacts[];
}

/** Everything that would prevent a restore from making the processes of a tree again. */
export const BELONGING = new Slot((tree: SeenTree): Belonging => {
  const first = look(tree, (task) => task.stat);
  // Values read while the tree runs may not be consistent, so a refusal must be found twice.
  if (tree.frozen || first.obstacles.length === 0) return first;
  return look(tree, ({ pid }) => unlessGone(() => statOf(pid)));
});

function look(tree: SeenTree, statOfTask: (task: SeenTask) => ProcStat | undefined): Belonging {
  const { root, options } = tree;
  if (!root.status.hasMemory) return { obstacles: [], notices: [] };
  const tasks = treeTasks(tree, statOfTask);
  const outside = new Outside(
    new Set([...tree.tasks.map(({ pid }) => pid), ...tree.dead]),
    new Set(tasks.map(({ sid }) => sid)),
  );
  const joins = options.shellJob || root.stat.session !== root.pid; // another check reports that --shell-job is needed
  try {
    const places = PID_PLACES.of(tree, 'here');
    const isTaken = (number: number): boolean => outside.has(number);
    const steps = planTree(tasks, { joins, bornPgid: root.stat.pgrp, isTaken, places });
    return conflicts(claimsOf(steps, tasks), tasks, tree, outside);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    // an inconsistent reading of a running tree
    if (error.kind === 'image' && !tree.frozen) return { obstacles: [], notices: [] };
    const task = tree.tasks.find(({ pid }) => pid === error.task?.pid)?.ref ?? error.task;
    return { obstacles: [error.with({ task })], notices: [] };
  }
}

function statOf(pid: number): ProcStat {
  return parseStat(readProc(hostPid(pid), 'stat'));
}

/**
 * The tree as input of the planner. The kernel does not show which tasks are subreapers, but that does not matter here.
 */
function treeTasks(tree: SeenTree, statOfTask: (task: SeenTask) => ProcStat | undefined): TreeTask[] {
  const { tasks, dead, root } = tree;
  const of = ({ pid, ppid, pgrp, session }: ProcStat, zombie: boolean, shared?: ObjectIds): TreeTask => ({
    pid,
    ppid: pid === root.pid ? 0 : ppid,
    pgid: pgrp,
    sid: session,
    zombie,
    subreaper: false,
    shared,
    terminal: session === pid,
  });
  // A single task shares nothing with others of the tree.
  const objects = tasks.length === 1 ? undefined : OBJECTS.of(tree);
  const living = tasks.flatMap((task) => {
    const stat = statOfTask(task);
    if (!stat) return [];
    return [of(stat, false, objects?.get(task.pid)?.ids)];
  });
  const zombies = dead.flatMap((pid) => unlessGone(() => statOf(pid)) ?? []).filter(({ state }) => state === 'Z');
  return [...living, ...zombies.map((stat) => of(stat, true))];
}

/** The processes outside of the tree, and the sessions and groups they are in. */
class Outside {
  readonly #members: ReadonlySet<number>;
  readonly #byNumber = new Map<number, Membership[]>();
  readonly #known = new Map<number, boolean>();

  /** `members` are the PIDs of the tree, `sessions` those it is in: a group lives in one session. */
  constructor(members: ReadonlySet<number>, sessions: ReadonlySet<number>) {
    this.#members = members;
    for (const process of memberships(sessions)) {
      if (members.has(process.pid) || process.pid === globalThis.process.pid) continue;
      for (const number of new Set([process.pid, process.pgid, process.sid])) {
        const there = this.#byNumber.get(number);
        if (there) there.push(process);
        else this.#byNumber.set(number, [process]);
      }
    }
  }

  /** Whether a number is the PID, session or group of a process outside. */
  has(number: number): boolean {
    return this.of(number).length > 0;
  }

  /** The processes outside that have a number as PID, session or group. */
  of(number: number): readonly Membership[] {
    return (this.#byNumber.get(number) ?? []).filter(({ pid }) => this.#isOutside(pid));
  }

  /**
   * Whether a process is outside. A running tree makes new processes all the time, so descendants of its members are
   * not outside; nor are processes that have ended.
   */
  #isOutside(pid: number): boolean {
    const known = this.#known.get(pid);
    if (known !== undefined) return known;
    const ppid = unlessGone(() => statOf(pid).ppid);
    const outside = ppid !== undefined && (ppid === 0 || (!this.#members.has(ppid) && this.#isOutside(ppid)));
    this.#known.set(pid, outside);
    return outside;
  }
}

/** Obstacles and notices for numbers that are taken, as long as the processes that have them exist. */
function conflicts(claims: readonly Claim[], tasks: readonly TreeTask[], tree: SeenTree, outside: Outside): Belonging {
  const taken = claims.filter(({ number }) => outside.has(number));
  const sessions = new Set(taken.map(({ number }) => number));
  const sidOf = new Map(tasks.map(({ pid, sid }) => [pid, sid]));
  const obstacles: StasisError[] = [];
  const notices: NoticeFacts[] = [];
  for (const claim of taken) {
    // A group belongs to one session, and an obstacle for the session covers the group.
    const sid = sidOf.get(claim.pid);
    if (claim.number !== sid && sid !== undefined && sessions.has(sid)) continue;
    const holders = outside.of(claim.number);
    const facts = factsOf(claim, holders, tree);
    const willEnd = claim.use === 'task' && holders.every(({ pid }) => readsFromTree(pid, tree.tasks));
    if (willEnd || tree.options.leaveRunning) notices.push(facts);
    else obstacles.push(new StasisError({ kind: 'unsupported', code: 'SESSION_SHARED', ...facts }));
  }
  return { obstacles, notices };
}

function factsOf(claim: Claim, holders: readonly Membership[], tree: SeenTree): NoticeFacts {
  const { number, use, pid } = claim;
  const { tasks, root, options } = tree;
  const task = tasks.find((each) => each.pid === pid)?.ref ?? { pid };
  const inSession = holders.some(({ sid }) => sid === number);
  const named = namesOf(holders.map(({ pid: holder }) => ({ pid: holder, comm: commOf(holder) })));
  const are = holders.length > 1 ? 'are' : 'is';
  const whose = `${named}, not part of the tree, ${are} in it`;
  const end = `end ${named} first`;
  const later = 'give --leave-running, and restore it elsewhere or when they have ended';
  const joins = 'give --shell-job, at the dump and at the restore, to let it join the session of whoever restores it';
  const resource = `${inSession ? 'session' : 'process group'} ${number}`;
  if (use === 'task') {
    const reason = `${whose}: as long as that is so, PID ${number} cannot be given out again`;
    return { task, resource, reason, remedy: `${end}, or ${later}` };
  }
  const mayJoin = use === 'session' && root.stat.session === root.pid && !options.shellJob;
  const reason = `${whose}: as long as that is so, it cannot be made again`;
  return { task, resource, reason, remedy: mayJoin ? joins : `${end}, or ${later}` };
}

/**
 * Whether a process reads from the tree, like `tee` in `job | tee log`. Such a process gets end-of-file after the dump,
 * and ends.
 */
function readsFromTree(pid: number, tasks: readonly SeenTask[]): boolean {
  const input = tryReadLink(`/proc/${pid}/fd/0`);
  if (typeof input === 'number' || !input.startsWith('pipe:')) return false;
  return tasks.some(({ fds }) => fds.some(({ link, flags }) => link === input && (flags & 3) !== 0));
}
