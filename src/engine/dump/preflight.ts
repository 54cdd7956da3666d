/** The preflight: everything that stands in the way of a dump, found at once and without touching the task. */
import { StasisError } from '../../base/errors.ts';
import { type Notice, type NoticeFacts, Notices } from '../../base/notice.ts';
import type { SeenTask, SeenThread, SeenTree, ThreadDoors } from '../../contract/contract.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { readProcIfAny } from '../../kernel/proc/read.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { trySyscall } from '../../kernel/syscall.ts';
import { taskKinds, treeDoors } from '../../kinds/registry.ts';
import { BELONGING } from './belonging.ts';
import { kindOf, unknownFile } from './file-table.ts';
import { reachedObstacles } from './reached-files.ts';

const NAMESPACES = ['pid', 'net', 'ipc', 'uts', 'time', 'mnt', 'user', 'cgroup'] as const;

/** All obstacles of a tree: of what it has as a whole, then of each task. */
export function obstaclesOf(tree: SeenTree): StasisError[] {
  const { root, tasks } = tree;
  const ofRoot = root.status.hasMemory ? [...sharedWithParent(root), ...outsideSession(root)] : [];
  const ofTree = treeDoors.flatMap((doors) => doors.survey?.(tree) ?? []);
  // Of a tree that runs, members end at any time.
  const ofTasks = tasks.flatMap((task) => unlessGone(() => obstaclesOfTask(task, root)) ?? []);
  return [...ofRoot, ...ofTree, ...BELONGING.of(tree).obstacles, ...ofTasks];
}

/** Everything of a tree that can be carried, but not as it is. */
export function noticesOf(tree: SeenTree): readonly Notice[] {
  const notices = new Notices();
  for (const facts of BELONGING.of(tree).notices) notices.add(facts);
  for (const task of tree.tasks.filter(({ status }) => status.hasMemory)) {
    // Of a tree that runs, members end at any time.
    for (const facts of unlessGone(() => noticesOfTask(task)) ?? []) notices.add(facts);
  }
  return notices.list;
}

function noticesOfTask(task: SeenTask): NoticeFacts[] {
  return [
    ...taskKinds.flatMap((kind) => kind.notices?.(task) ?? []),
    ...task.fds.flatMap((file) => kindOf(file)?.notice?.(file, task) ?? []),
  ];
}

function obstaclesOfTask(task: SeenTask, root: SeenTask): StasisError[] {
  if (!task.status.hasMemory) return statusObstacles(task);
  return [
    ...statusObstacles(task),
    ...namespaces(task, root),
    ...task.threads.slice(1).flatMap((thread) => unlessGone(() => apart(task, thread)) ?? []),
    ...taskKinds.flatMap((kind) => [
      ...(kind.obstacles?.(task) ?? []),
      ...(kind.thread?.obstacles ? ofThreads(task, kind.thread) : []),
    ]),
    ...descriptors(task),
    ...reachedObstacles(task),
  ];
}

/** Threads of a process that runs end at any time. */
function ofThreads(task: SeenTask, doors: ThreadDoors): StasisError[] {
  return task.threads.flatMap((thread) => unlessGone(() => doors.obstacles?.(thread)) ?? []);
}

function obstacle(task: SeenTask, resource: string | undefined, reason: string, remedy?: string): StasisError {
  return new StasisError({ kind: 'unsupported', task: task.ref, resource, reason, remedy });
}

function statusObstacles(task: SeenTask): StasisError[] {
  const { status } = task;
  if (!status.hasMemory) {
    if (status.state === 'Z' && status.threads > 1) {
      return [
        obstacle(task, undefined, 'its main thread has ended while others live; such a process is not carried yet'),
      ];
    }
    const what = status.state === 'Z' ? 'the process is a zombie' : 'this is a kernel thread';
    return [obstacle(task, undefined, `${what}: there is nothing to save`)];
  }
  const found: StasisError[] = [];
  if (status.tracerPid !== 0 && status.tracerPid !== process.pid) {
    found.push(obstacle(task, `tracer ${status.tracerPid}`, 'the task is being traced', 'detach gdb or strace first'));
  }
  if (isNarrow(task.pid)) found.push(obstacle(task, undefined, '32-bit programs are not carried yet'));
  if (status.coreDumping) found.push(obstacle(task, undefined, 'the task is dumping core'));
  return found;
}

/** The auxiliary vector of a 32-bit program has words of 32 bits: the first value stands where an empty half would. */
function isNarrow(pid: number): boolean {
  const bytes = readProcIfAny(pid, 'auxv');
  return bytes !== undefined && bytes.length >= 8 && Buffer.from(bytes).readUInt32LE(4) !== 0;
}

/** What clone(2) can leave in common. */
const COMMON = [
  ['memory', KCMP.VM],
  ['descriptor table', KCMP.FILES],
  ['working directory', KCMP.FS],
] as const;

/** What the root has in common with its parent, which would be torn apart. Nothing is told of parents we may not trace. */
function sharedWithParent(root: SeenTask): StasisError[] {
  const { pid, stat } = root;
  if (stat.ppid === 0) return [];
  const common = COMMON.filter(([, type]) => trySyscall('kcmp', pid, stat.ppid, type, 0, 0) === 0).map(
    ([name]) => name,
  );
  if (common.length === 0) return [];
  const reason = `its ${common.join(' and ')} ${common.length > 1 ? 'are' : 'is'} shared with its parent (vfork, clone)`;
  return [obstacle(root, `parent ${stat.ppid}`, reason)];
}

/** Of what threads have in common as a rule, a thread can have made its own (unshare(2)); the images have no place for that. */
function apart(task: SeenTask, thread: SeenThread): StasisError[] {
  const { pid } = task;
  const differs = (type: number): boolean => trySyscall('kcmp', pid, thread.tid, type, 0, 0) > 0;
  const own = [
    ...(differs(KCMP.FILES) ? ['descriptor table'] : []),
    ...(differs(KCMP.FS) ? ['working directory'] : []),
    ...THREAD_NAMESPACES.filter((name) => namespaceOf(thread.tid, name) !== namespaceOf(pid, name)).map(
      (name) => `${name} namespace`,
    ),
  ];
  if (own.length === 0) return [];
  const reason = `the thread has left what its process has in common: it has a ${own.join(', a ')} of its own`;
  return [new StasisError({ kind: 'unsupported', task: thread.ref, resource: `thread of task ${pid}`, reason })];
}

/** Those a thread can change alone; a mount namespace of its own takes a working directory of its own with it. */
const THREAD_NAMESPACES = ['net', 'ipc', 'uts', 'cgroup'] as const;

function outsideSession(root: SeenTask): StasisError[] {
  const { stat, options } = root;
  if (stat.session === root.pid || options.shellJob) return [];
  return [
    obstacle(
      root,
      `session ${stat.session}`,
      'the process is not the leader of its session, so its session cannot be made again',
      'give --shell-job, at the dump and at the restore, to let it join the session of whoever restores it',
    ),
  ];
}

/**
 * Namespaces must be ours: only these are there again at the restore. A restored tree has a time namespace of its own,
 * which is made again.
 */
function namespaces(task: SeenTask, root: SeenTask): StasisError[] {
  return NAMESPACES.flatMap((name) => {
    const theirs = namespaceOf(task.pid, name);
    const ours = namespaceOf(name === 'time' ? root.pid : 'self', name);
    if (theirs === undefined || theirs === ours) return [];
    return [obstacle(task, `${name} namespace ${theirs}`, 'tasks in namespaces of their own are not carried yet')];
  });
}

function descriptors(task: SeenTask): StasisError[] {
  return task.fds.flatMap((file) => {
    const kind = kindOf(file);
    if (!kind) return [unknownFile(file)];
    const found = kind.obstacle?.(file, task);
    return found ? [found] : [];
  });
}
