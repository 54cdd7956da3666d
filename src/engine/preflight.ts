/** The preflight: everything that stands in the way of a dump, found at once and without touching the task. */
import { StasisError } from '../base/errors.ts';
import { KCMP } from '../kernel/constants/files.ts';
import { namesIn } from '../kernel/files.ts';
import { parseNsLink } from '../kernel/proc/namespaces.ts';
import { readProcIfAny, readProcLink } from '../kernel/proc/read.ts';
import { parseChildren } from '../kernel/proc/values.ts';
import { trySyscall } from '../kernel/syscall.ts';
import type { SeenTask } from '../kinds/contract.ts';
import { taskKinds } from '../kinds/registry.ts';
import { kindOf, unknownFile } from './file-table.ts';

const NAMESPACES = ['pid', 'net', 'ipc', 'uts', 'time', 'mnt', 'user', 'cgroup'] as const;

/** All obstacles of one task. */
export function obstaclesOf(task: SeenTask): StasisError[] {
  if (!task.status.hasMemory) return statusObstacles(task);
  return [
    ...statusObstacles(task),
    ...relatives(task),
    ...namespaces(task),
    ...taskKinds.flatMap((kind) => kind.obstacles?.(task) ?? []),
    ...descriptors(task),
  ];
}

function obstacle(task: SeenTask, resource: string | undefined, reason: string, remedy?: string): StasisError {
  return new StasisError({ kind: 'unsupported', task: task.ref, resource, reason, remedy });
}

function statusObstacles(task: SeenTask): StasisError[] {
  const { status } = task;
  if (!status.hasMemory) {
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

function relatives(task: SeenTask): StasisError[] {
  const threads = task.status.threads;
  const found: StasisError[] = [];
  if (threads > 1)
    found.push(obstacle(task, `${threads} threads`, 'processes with several threads are not carried yet'));
  const children = childrenOf(task.pid);
  if (children.length > 0) {
    const list = children.slice(0, 5).join(', ') + (children.length > 5 ? ', …' : '');
    found.push(obstacle(task, `child ${list}`, 'process trees (children) are not carried yet'));
  }
  const common = sharedWithParent(task);
  if (common.length > 0) {
    const reason = `its ${common.join(' and ')} ${common.length > 1 ? 'are' : 'is'} shared with its parent (vfork, clone)`;
    found.push(obstacle(task, `parent ${task.stat.ppid}`, reason));
  }
  return found;
}

/** What clone(2) can leave in common. */
const COMMON = [
  ['memory', KCMP.VM],
  ['descriptor table', KCMP.FILES],
  ['working directory', KCMP.FS],
] as const;

/** What a task has in common with its parent, which would be torn apart. Nothing is told of parents we may not trace. */
function sharedWithParent({ pid, stat }: SeenTask): string[] {
  if (stat.ppid === 0) return [];
  return COMMON.filter(([, type]) => trySyscall('kcmp', pid, stat.ppid, type, 0, 0) === 0).map(([name]) => name);
}

/** Children of all threads. */
function childrenOf(pid: number): number[] {
  return namesIn(`/proc/${pid}/task`).flatMap((tid) => {
    const bytes = readProcIfAny(pid, `task/${tid}/children`);
    return bytes ? parseChildren(bytes) : [];
  });
}

/** Namespaces must be ours: only these are there again at the restore. */
function namespaces(task: SeenTask): StasisError[] {
  return NAMESPACES.flatMap((name) => {
    const theirs = namespaceOf(task.pid, name);
    const ours = namespaceOf('self', name);
    if (theirs === undefined || theirs === ours) return [];
    return [obstacle(task, `${name} namespace ${theirs}`, 'tasks in namespaces of their own are not carried yet')];
  });
}

/** Inode of a namespace; undefined where the kernel has none of this type. */
export function namespaceOf(pid: number | 'self', name: string): number | undefined {
  try {
    return parseNsLink(readProcLink(pid, `ns/${name}`))?.ino;
  } catch (error) {
    if (error instanceof StasisError && error.kind === 'unsupported') return undefined;
    throw error;
  }
}

function descriptors(task: SeenTask): StasisError[] {
  return task.fds.flatMap((file) => {
    const kind = kindOf(file);
    if (!kind) return [unknownFile(file)];
    const found = kind.obstacle?.(file, task);
    return found ? [found] : [];
  });
}
