/**
 * Scheduling: policy, priority, nice value; and, which CRIU does not carry, deadlines, slices, clamps, CPU affinity and
 * I/O priority.
 */
import { asStasisError } from '../../../base/errors.ts';
import { logDebug } from '../../../base/log.ts';
import type { DumpContext, DumpThread, Json, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { Slot } from '../../../contract/slots.ts';
import { IOPRIO, PRIO, SCHED, SCHED_FLAG } from '../../../kernel/constants/tasks.ts';
import { SchedAttr } from '../../../kernel/layouts/tasks.ts';
import { readSystem } from '../../../kernel/proc/read.ts';
import { arena, arenaAddress, describeErrno, syscall, trySyscall } from '../../../kernel/syscall.ts';
import { INSIDE } from '../../../namespaces/user/inside.ts';
import type { Ref } from '../../../tracee/program.ts';
import { cpuMask } from './cpus.ts';

/** State that CRIU's image has no fields for. Values that a new process has as well are left out. */
interface SavedScheduling {
  /** Nanoseconds: the runtime of a deadline task, or the slice of a normal task. */
  readonly runtime?: string;
  readonly deadline?: string;
  readonly period?: string;
  readonly flags?: number;
  readonly utilMin?: number;
  readonly utilMax?: number;
  /** CPUs, as "0-3,8". */
  readonly cpus?: string;
  readonly ioprio?: number;
}

const REALTIME: readonly number[] = [SCHED.FIFO, SCHED.RR];
const CLAMP_MOST = 1024;

function capture(thread: DumpThread): undefined {
  syscall('sched_getattr', thread.tid, arenaAddress, SchedAttr.size, 0);
  const attr = SchedAttr.decode(arena.subarray(0, SchedAttr.size));
  const flags = Number(attr.flags);
  const core = thread.core.thread_core;
  core.sched_policy = attr.policy | (flags & SCHED_FLAG.RESET_ON_FORK ? SCHED.RESET_ON_FORK : 0);
  // Real-time tasks keep a nice value, which has no effect; sched_getattr(2) does not return it for them.
  core.sched_nice = thread.stat.nice;
  if (REALTIME.includes(attr.policy)) core.sched_prio = attr.priority;
  const saved = { ...attrState(attr, flags), ...placeState(thread) };
  if (Object.keys(saved).length > 0) thread.ownState.scheduling = saved as { [key: string]: Json };
}

function attrState(attr: ReturnType<typeof SchedAttr.decode>, flags: number): SavedScheduling {
  const timed = attr.policy === SCHED.DEADLINE;
  const clamped =
    attr.size >= SchedAttr.size && (attr.utilMin !== 0 || (attr.utilMax !== 0 && attr.utilMax !== CLAMP_MOST));
  const ownSlice = attr.policy === SCHED.NORMAL || attr.policy === SCHED.BATCH ? customSlice(attr.runtime) : false;
  return {
    ...(timed ? { deadline: String(attr.deadline), period: String(attr.period), flags } : {}),
    ...(timed || ownSlice ? { runtime: String(attr.runtime) } : {}),
    ...(clamped ? { utilMin: attr.utilMin, utilMax: attr.utilMax } : {}),
  };
}

/**
 * Whether a slice was set by the task (since 6.12): all others have the same default as Stasis, unless Stasis has its
 * own.
 */
function customSlice(runtime: bigint): boolean {
  syscall('sched_getattr', 0, arenaAddress, SchedAttr.size, 0);
  return runtime !== 0n && runtime !== SchedAttr.decode(arena.subarray(0, SchedAttr.size)).runtime;
}

function placeState(thread: DumpThread): SavedScheduling {
  const online = ONLINE.of(thread.context);
  const cpus = thread.status.cpusAllowedList;
  const ioprio = trySyscall('ioprio_get', IOPRIO.WHO_PROCESS, thread.tid);
  return {
    ...(cpus !== undefined && online !== undefined && cpus !== online ? { cpus } : {}),
    ...(ioprio > 0 ? { ioprio } : {}),
  };
}

const ONLINE = new Slot(onlineCpus);

function onlineCpus(_: DumpContext): string | undefined {
  try {
    return Buffer.from(readSystem('/sys/devices/system/cpu/online')).toString('latin1').trim();
  } catch (error) {
    logDebug(`scheduling: ${asStasisError(error).message}`);
    return undefined; // without /sys an affinity cannot be compared with the default
  }
}

function rebuild(thread: RestoreThread): void {
  const saved = (thread.ownState.scheduling ?? {}) as SavedScheduling;
  if (saved.cpus !== undefined) {
    const mask = cpuMask(saved.cpus);
    const program = thread.batch.reserve(1, mask.length);
    const result = program.attempt('sched_setaffinity', 0, mask.length, program.data(mask));
    warnIfRefused(thread, `affinity to CPUs ${saved.cpus}`, result);
  }
  if (saved.ioprio !== undefined && !isInside(thread)) {
    const result = thread.batch.reserve(1).attempt('ioprio_set', IOPRIO.WHO_PROCESS, 0, saved.ioprio);
    warnIfRefused(thread, `I/O priority ${saved.ioprio}`, result);
  }
  rebuildPolicy(thread, saved);
}

/**
 * Logs a warning if a call fails. A machine with fewer CPUs, or an I/O class that is not permitted, is no reason to
 * fail.
 */
function warnIfRefused(thread: RestoreThread, what: string, result: Ref): void {
  thread.batch.after((program) => {
    const errno = -program.result(result);
    if (errno <= 0) return;
    thread.context.notice({ task: thread.ref, resource: what, reason: `cannot be set here: ${describeErrno(errno)}` });
  });
}

function rebuildPolicy(thread: RestoreThread, saved: SavedScheduling): void {
  const nice = thread.core.thread_core?.sched_nice ?? 0;
  const attr = policyOf(thread, saved);
  if (!attr) return;
  if (isInside(thread)) {
    rebuildFromOutside(thread, saved, nice, attr);
    return;
  }
  const program = thread.batch.reserve(2, SchedAttr.size);
  program.call('setpriority', 0, 0, nice);
  if (!hasDeadline(thread, saved)) program.call('sched_setattr', 0, program.data(attr), 0);
}

/** Whether a thread is in a user namespace of its own, where it has no rights to raise a priority (can_nice()). */
function isInside({ context, process }: RestoreThread): boolean {
  return INSIDE.of(context, process.pid) !== undefined;
}

/** Sets priorities from outside. */
function rebuildFromOutside(thread: RestoreThread, saved: SavedScheduling, nice: number, attr: Uint8Array): void {
  const { pid } = thread.tracee;
  thread.batch.flush();
  syscall('setpriority', PRIO.PROCESS, pid, nice);
  if (!hasDeadline(thread, saved)) syscall('sched_setattr', pid, attr, 0);
  if (saved.ioprio === undefined) return;
  const done = trySyscall('ioprio_set', IOPRIO.WHO_PROCESS, pid, saved.ioprio);
  if (done === 0) return;
  const reason = `cannot be set here: ${describeErrno(done)}`;
  thread.context.notice({ task: thread.ref, resource: `I/O priority ${saved.ioprio}`, reason });
}

function hasDeadline(thread: RestoreThread, saved: SavedScheduling): boolean {
  const policy = (thread.core.thread_core?.sched_policy ?? 0) & ~SCHED.RESET_ON_FORK;
  return policy === SCHED.DEADLINE && saved.deadline !== undefined;
}

/**
 * Sets the deadline policy from outside, when no more calls are made in the task: the time of our calls would count
 * against its runtime, and with SCHED_FLAG_DL_OVERRUN the kernel would send it SIGXCPU.
 */
function rebuildDeadline(thread: RestoreThread): void {
  const saved = (thread.ownState.scheduling ?? {}) as SavedScheduling;
  const attr = hasDeadline(thread, saved) && policyOf(thread, saved);
  if (!attr) return;
  thread.batch.flush();
  syscall('sched_setattr', thread.tracee.pid, attr, 0);
}

/** struct sched_attr for the saved policy; undefined if the image has none. */
function policyOf(thread: RestoreThread, saved: SavedScheduling): Uint8Array | undefined {
  const core = thread.core.thread_core;
  if (core?.sched_policy === undefined) return undefined;
  const nice = core.sched_nice ?? 0;
  let policy = core.sched_policy & ~SCHED.RESET_ON_FORK;
  if (policy === SCHED.DEADLINE && saved.deadline === undefined) {
    const reason = 'its deadlines are not in the images, it is scheduled as any other';
    thread.context.notice({ task: thread.ref, reason });
    policy = SCHED.NORMAL;
  }
  const clamps = saved.utilMin === undefined ? 0 : SCHED_FLAG.UTIL_CLAMP_MIN | SCHED_FLAG.UTIL_CLAMP_MAX;
  const reset = core.sched_policy & SCHED.RESET_ON_FORK ? SCHED_FLAG.RESET_ON_FORK : 0;
  return SchedAttr.encode({
    size: SchedAttr.size,
    policy,
    flags: BigInt((saved.flags ?? 0) | clamps | reset),
    nice,
    priority: core.sched_prio ?? 0,
    runtime: BigInt(saved.runtime ?? 0),
    deadline: BigInt(saved.deadline ?? 0),
    period: BigInt(saved.period ?? 0),
    utilMin: saved.utilMin ?? 0,
    utilMax: saved.utilMax ?? 0,
  });
}

/**
 * Scheduling. In phase `creds` and not earlier, since a task of low priority is rebuilt slowly; before the credentials,
 * which may take away the right to set it.
 */
export const scheduling: TaskKind = { name: 'scheduling', thread: { capture, rebuild: { creds: rebuild } } };

/**
 * The deadline policy, the last kind of all. It is set from outside, so it can follow `signal-trap`.
 */
export const deadline: TaskKind = {
  name: 'deadline',
  after: ['signal-trap'],
  thread: { rebuild: { last: rebuildDeadline } },
};
