/** Resource limits (setrlimit(2)). */
import { StasisError } from '../../../base/errors.ts';
import type { DumpTask, RestoreContext, RestoreTask, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import type { RlimitEntry } from '../../../images/schema/task.ts';
import { RLIM_INFINITY, RLIMIT_NAMES } from '../../../kernel/constants/tasks.ts';
import { Rlimit64 } from '../../../kernel/layouts/tasks.ts';
import { parseLimits } from '../../../kernel/proc/limits.ts';
import { readProc } from '../../../kernel/proc/read.ts';
import { describeErrno, trySyscall } from '../../../kernel/syscall.ts';
import { headroomObstacles } from '../../../tracee/headroom.ts';

/**
 * RLIMIT_NPROC and RLIMIT_SIGPENDING count resources of all processes of a user, which may exceed the limit of one of
 * them. So they are lowered last: when each process has its user (before that the kernel could mark it with
 * PF_NPROC_EXCEEDED) and its pending signals.
 */
const OF_A_USER: ReadonlySet<number> = new Set([6, 11]);

function capture(task: DumpTask): undefined {
  task.core.tc.rlimits = { rlimits: task.limits.map(({ cur, max }) => ({ cur, max })) };
}

function setLimit(task: RestoreTask, resource: number, limit: RlimitEntry): void {
  const program = task.batch.reserve(1, Rlimit64.size);
  const result = program.attempt('prlimit64', 0, resource, program.data(Rlimit64.encode(limit)), 0);
  task.batch.after((done) => {
    const errno = -done.result(result);
    // A process in a user namespace has the rights of the machine for it no more, which we may have.
    const bytes = Rlimit64.encode(limit);
    if (errno > 0 && trySyscall('prlimit64', task.tracee.pid, resource, bytes, 0) === 0) return;
    if (errno > 0) throw refused(task, resource, limit, errno);
  });
}

function refused(task: RestoreTask, resource: number, limit: RlimitEntry, errno: number): StasisError {
  const name = `RLIMIT_${RLIMIT_NAMES[resource] ?? resource}`;
  return new StasisError({
    kind: 'permission',
    code: 'LIMIT',
    task: task.ref,
    resource: name,
    reason: `cannot be set to ${show(limit.cur)}, at most ${show(limit.max)}: ${describeErrno(errno)}`,
    remedy: `restore with CAP_SYS_RESOURCE, or with a hard ${name} that is high enough`,
  });
}

function show(value: bigint): string {
  return value === RLIM_INFINITY ? 'unlimited' : String(value);
}

/** Our own limits. */
const OWN = new Slot((_: RestoreContext) => parseLimits(readProc('self', 'limits')));

/** The hard limit of a process whose limits are not restored yet; it has inherited ours. */
function inherited(task: RestoreTask, resource: number): bigint {
  return OWN.of(task.context)[resource]?.max ?? RLIM_INFINITY;
}

/** Sets all limits when memory and descriptors are there, and while hard limits may still be raised. */
function rebuild(task: RestoreTask): void {
  for (const [resource, limit] of (task.core.tc?.rlimits?.rlimits ?? []).entries()) {
    if (!OF_A_USER.has(resource)) {
      setLimit(task, resource, limit);
      continue;
    }
    let high = inherited(task, resource);
    if (limit.max > high) high = limit.max;
    setLimit(task, resource, { cur: high, max: high });
  }
}

function rebuildLast(task: RestoreTask): void {
  for (const [resource, limit] of (task.core.tc?.rlimits?.rlimits ?? []).entries()) {
    if (OF_A_USER.has(resource)) setLimit(task, resource, limit);
  }
}

/**
 * Limits. In phase `creds` the kind runs before the credentials. In phase `last` it runs after the signals, so that the
 * limit on queued signals is lowered when they are queued.
 */
export const limits: TaskKind = {
  name: 'limits',
  obstacles: headroomObstacles,
  after: ['signals'],
  capture,
  rebuild: { creds: rebuild, last: rebuildLast },
};
