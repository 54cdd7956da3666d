/** The preflight: finds all obstacles to a dump at once, without touching the tasks. */

import type { HostPid } from '../../base/brands.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { asStasisError, StasisError } from '../../base/errors.ts';
import { type Notice, type NoticeFacts, Notices } from '../../base/notice.ts';
import { Part } from '../../base/part.ts';
import type { CarryOptions, OpenFile, SeenTask, SeenThread, SeenTree, TaskKind } from '../../contract/contract.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { nap } from '../../kernel/nap.ts';
import { readProcIfAny } from '../../kernel/proc/read.ts';
import { hasEnded, tellsOfNothing, unlessGone } from '../../kernel/proc/tree.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { taskKinds, treeDoors } from '../../kinds/registry.ts';
import { NetworkStay } from '../../namespaces/inside.ts';
import { inNetworkOf } from '../../namespaces/networks.ts';
import { BELONGING } from './belonging.ts';
import { kindOf, meetKinds } from './file-table.ts';
import {
  enterNetworkOf,
  foreignNamespaces,
  foreignSocket,
  namespaceNotices,
  namespaceObstacles,
} from './namespaces.ts';
import type { Obstacle } from './obstacles.ts';
import { reachedObstacles } from './reached-files.ts';
import { TreeSnapshot } from './snapshot.ts';

// Only for a tree that cannot be carried.
const OBSTACLES = new Part(() => require('./obstacles.ts') as typeof import('./obstacles.ts'));
const REFUSING = new Part(() => require('./unsupported-file.ts') as typeof import('./unsupported-file.ts'));

/** How often a running tree is examined again because something vanished meanwhile. */
const MOST_LOOKS = 5;
/** The nanoseconds until the next look, and the looks, while what a killed Stasis has left goes by itself. */
const PAUSE = 25_000_000;
const MOST_WAITS = 20;

/**
 * Looks at a tree that runs, and answers what `use` makes of it: what was borrowed is given back afterwards.
 * @throws StasisError when the root does not exist or may not be looked at
 */
export function inspectRunning<T>(
  root: HostPid,
  carry: CarryOptions,
  use: (snapshot: TreeSnapshot, obstacles: readonly StasisError[]) => T,
): T {
  try {
    using stay = new NetworkStay();
    enterNetworkOf(root, stay);
    for (let look = 1; ; look++) {
      using snapshot = TreeSnapshot.ofRunning(root, carry);
      const obstacles = obstaclesOf(snapshot);
      if (look < MOST_LOOKS && obstacles.some(({ code }) => code === 'LOOK_FAILED')) continue;
      if (
        look < MOST_WAITS &&
        obstacles.some(({ code }) => code === 'MEMORY_USERFAULTFD') &&
        !watchesItself(snapshot)
      ) {
        nap(PAUSE);
        continue;
      }
      return use(snapshot, obstacles);
    }
  } catch (error) {
    if (!(error instanceof StasisError) || error.kind !== 'gone' || error.task?.pid !== root) throw error;
    throw new StasisError({ kind: 'gone', task: { pid: root }, reason: 'there is no such process', cause: error });
  }
}

/**
 * Whether a tree has userfaultfds of its own. If it has none, who watches its memory may be a helper of a Stasis that
 * was killed: it closes what it has when it ends, which takes the kernel a moment.
 */
function watchesItself({ tasks }: TreeSnapshot): boolean {
  return tasks.some(({ fds }) => fds.some(({ link }) => link === 'anon_inode:[userfaultfd]'));
}

/** All obstacles of a tree: one for each thing that is in the way, with everybody who has it. */
export function obstaclesOf(tree: TreeSnapshot): StasisError[] {
  const { root, tasks, hasStasis } = tree;
  if (root.pid === process.pid) return [ourselves(root)];
  const ofRoot = root.status.hasMemory ? [...sharedWithParent(root), ...outsideSession(root)] : [];
  // First, since it finds out where paths begin.
  const ofNamespaces = lookAt(root, 'namespaces', () => namespaceObstacles(tree), tree);
  meetKinds(tree);
  const ofTree = treeDoors.flatMap((doors) => lookAt(root, 'the tree', () => doors.survey?.(tree) ?? [], tree));
  const belonging = lookAt(root, 'sessions and groups', () => BELONGING.of(tree).obstacles, tree);
  const whole = [...(hasStasis ? [ourselves(root)] : []), ...ofRoot, ...ofTree, ...ofNamespaces, ...belonging];
  const found: Obstacle[] = whole.map((error) => ({ error }));
  for (const task of tasks) {
    const ofTask = obstaclesOfTask(task, tree);
    if (ofTask.length > 0 && !isGone(task, tree)) found.push(...ofTask);
  }
  return found.length === 0 ? [] : OBSTACLES.load().oneForEachObject(found);
}

/**
 * Everything of a tree that can be carried, but not as it is. @throws StasisError, but for what goes of a tree that
 * runs
 */
export function noticesOf(tree: TreeSnapshot): readonly Notice[] {
  const notices = new Notices();
  for (const facts of BELONGING.of(tree).notices) notices.add(facts);
  for (const facts of namespaceNotices(tree)) notices.add(facts);
  for (const task of tree.tasks.filter(({ status }) => status.hasMemory)) {
    for (const look of noticesOfTask(task)) {
      // What goes away while a tree runs is looked for again when it is frozen.
      for (const facts of (tree.frozen ? look() : unlessGone(look)) ?? []) notices.add(facts);
    }
  }
  return notices.list;
}

function noticesOfTask(task: SeenTask): (() => NoticeFacts[])[] {
  return [
    ...taskKinds.map((kind) => () => kind.notices?.(task) ?? []),
    ...task.fds.map(
      (file) => () => inNetworkOf(file, task.tree, () => [kindOf(file)?.notice?.(file, task) ?? []].flat()),
    ),
  ];
}

function obstaclesOfTask(task: SeenTask, tree: TreeSnapshot): Obstacle[] {
  const look = (what: string, at: () => StasisError[], whose: SeenThread = task): Obstacle[] =>
    lookAt(whose, what, at, tree).map((error) => ({ error }));
  if (!task.status.hasMemory) return statusObstacles(task).map((error) => ({ error }));
  return [
    ...look('status', () => statusObstacles(task)),
    ...look('namespaces', () => foreignNamespaces(task)),
    ...taskKinds.flatMap((kind) => ofKind(kind, task, look)),
    ...task.fds.flatMap((file) => {
      const found = lookAt(task, `fd ${file.fd} (${file.link})`, () => obstacleOfFile(file, task), tree);
      return found.map((error) => ({ error, file }));
    }),
    ...look('executable and directories', () => reachedObstacles(task)),
  ];
}

type Look = (what: string, at: () => StasisError[], whose?: SeenThread) => readonly Obstacle[];

const NONE: readonly Obstacle[] = [];

/** The obstacles of one kind of state. Most kinds have none to look for, and this is asked for each task. */
function ofKind({ name, obstacles, thread: doors }: TaskKind, task: SeenTask, look: Look): readonly Obstacle[] {
  const ofThread = doors?.obstacles;
  const own = obstacles ? look(name, () => obstacles(task)) : NONE;
  if (!ofThread) return own;
  return [...own, ...task.threads.flatMap((thread) => look(name, () => ofThread(thread), thread))];
}

function obstacleOfFile(file: OpenFile, task: SeenTask): StasisError[] {
  const kind = kindOf(file);
  const ofKind = (): StasisError | undefined => inNetworkOf(file, task.tree, () => kind?.obstacle?.(file, task));
  const found = kind ? (foreignSocket(file, task) ?? ofKind()) : REFUSING.load().unsupportedFile(file);
  return found ? [found] : [];
}

/**
 * What a look for obstacles finds. If something is not there that was a moment ago, the thread may have ended, where
 * the tree runs: then it has none. Otherwise that is an obstacle itself: nobody knows what the look would have found.
 */
function lookAt(
  whose: SeenThread,
  what: string,
  look: () => readonly StasisError[],
  tree: SeenTree,
): readonly StasisError[] {
  try {
    return look();
  } catch (error) {
    if (!tellsOfNothing(error)) throw error;
    if (isGone(whose, tree)) return [];
    return [lookFailed(whose, what, error)];
  }
}

function isGone(thread: SeenThread, { frozen }: SeenTree): boolean {
  return !frozen && unlessGone(() => hasEnded(thread.tid, thread.stat.starttime)) !== false;
}

/** An obstacle because something that was there before is not there any more. Exported for tests. */
export function lookFailed(thread: SeenThread, what: string, cause: unknown): StasisError {
  return new StasisError({
    kind: 'conflict',
    code: 'LOOK_FAILED',
    task: thread.ref,
    resource: what,
    reason: `it changed while Stasis looked at it: ${asStasisError(cause).message}`,
    remedy: 'try again',
    cause,
  });
}

function obstacle(
  task: SeenTask,
  code: ErrorCode,
  resource: string | undefined,
  reason: string,
  remedy?: string,
): StasisError {
  return new StasisError({ kind: 'unsupported', code, task: task.ref, resource, reason, remedy });
}

function ourselves(root: SeenTask): StasisError {
  return obstacle(
    root,
    'TREE_HAS_STASIS',
    undefined,
    `Stasis itself (process ${process.pid}) is in this tree, and cannot freeze itself`,
    'run it from another terminal or session, or name with -t a process that it does not come from',
  );
}

function statusObstacles(task: SeenTask): StasisError[] {
  const { status } = task;
  if (!status.hasMemory) {
    if (status.state === 'Z' && status.threads > 1) {
      return [
        obstacle(
          task,
          'MAIN_THREAD_DEAD',
          undefined,
          'its main thread has ended while others live; such a process is not carried yet',
        ),
      ];
    }
    const what = status.state === 'Z' ? 'the process is a zombie' : 'this is a kernel thread';
    return [obstacle(task, 'TASK_DEAD', undefined, `${what}: there is nothing to save`)];
  }
  const found: StasisError[] = [];
  if (status.tracerPid !== 0 && status.tracerPid !== process.pid) {
    const reason = 'the task is being traced';
    found.push(obstacle(task, 'TASK_TRACED', `tracer ${status.tracerPid}`, reason, 'detach gdb or strace first'));
  }
  if (isNarrow(task.pid)) {
    found.push(obstacle(task, 'TASK_32BIT', undefined, '32-bit programs are not carried yet'));
  }
  if (status.coreDumping) {
    found.push(obstacle(task, 'TASK_CORE_DUMP', undefined, 'the task is dumping core', 'wait until it has'));
  }
  return found;
}

/**
 * Whether a process is a 32-bit program: its auxiliary vector has words of 32 bits, so the upper half of the first
 * 64-bit word is not empty.
 */
function isNarrow(pid: HostPid): boolean {
  const bytes = readProcIfAny(pid, 'auxv');
  return bytes !== undefined && bytes.length >= 8 && Buffer.from(bytes).readUInt32LE(4) !== 0;
}

/** The resources that processes can share through clone(2). */
const COMMON = [
  ['memory', KCMP.VM],
  ['descriptor table', KCMP.FILES],
  ['working directory', KCMP.FS],
] as const;

/**
 * The obstacle that the root shares resources with its parent, which a dump would separate. Parents that Stasis may not
 * trace are not examined.
 */
function sharedWithParent(root: SeenTask): StasisError[] {
  const { pid, stat } = root;
  if (stat.ppid === 0) return [];
  const common = COMMON.filter(([, type]) => trySyscall('kcmp', pid, stat.ppid, type, 0, 0) === 0).map(
    ([name]) => name,
  );
  if (common.length === 0) return [];
  const reason = `its ${common.join(' and ')} ${common.length > 1 ? 'are' : 'is'} shared with its parent (vfork, clone)`;
  return [obstacle(root, 'TASK_SHARES_WITH_PARENT', `parent ${stat.ppid}`, reason)];
}

function outsideSession(root: SeenTask): StasisError[] {
  const { stat, options } = root;
  if (stat.session === root.pid || options.shellJob) return [];
  return [
    obstacle(
      root,
      'SESSION_OUTSIDE',
      `session ${stat.session}`,
      'the process is not the leader of its session, so its session cannot be made again',
      'give --shell-job, at the dump and at the restore, to let it join the session of whoever restores it',
    ),
  ];
}
