/** Which pages of a stopped tree a pre-dump saves. */
import type { HostPid } from '../../base/brands.ts';
import type { PidView } from '../../contract/contract.ts';
import { KCMP } from '../../kernel/constants/files.ts';
import { parseLimits } from '../../kernel/proc/limits.ts';
import { readProc } from '../../kernel/proc/read.ts';
import { type ProcVma, parseSmaps } from '../../kernel/proc/smaps.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { toStore, withoutParent } from '../../memory/own-pages.ts';
import { without } from '../../memory/plan/ranges.ts';
import { scanOwnPages } from '../../memory/scan.ts';
import { rangesWhere } from '../../memory/tracking/changes.ts';
import type { Tracking } from '../../memory/tracking/tracking.ts';
import { Foothold } from '../../tracee/foothold.ts';
import { limitsToLift } from '../../tracee/headroom.ts';
import { requireUninterrupted } from '../../tracee/interruption.ts';
import { suspendSeccomp } from '../../tracee/seccomp.ts';
import { threadsWithoutExit } from '../../tracee/seccomp-exit.ts';
import type { FrozenProcess } from '../dump/freeze/freeze.ts';
import { Objects } from '../dump/object-ids.ts';
import { pidView } from '../dump/pid-view.ts';
import type { TaskMemory } from './pre-dump.ts';

const NOTHING = { plain: [], hidden: [] } as const;

/** Examines all processes, and has writes to their memory noticed from now on. @throws StasisError */
export function examineMemory(processes: readonly FrozenProcess[], tracking: Tracking): TaskMemory[] {
  const living = processes.filter(({ zombie }) => !zombie);
  const pids = viewOf(living);
  const spaces = new Objects(KCMP.VM);
  const byMemory = new Map<number, FrozenProcess[]>();
  const ids = living.map(({ pid }) => spaces.idOf(pid).id);
  living.forEach((process, i) => {
    const id = ids[i] as number; // i < length
    byMemory.set(id, [...(byMemory.get(id) ?? []), process]);
  });
  return living.map((process, i) => {
    requireUninterrupted();
    const sharers = byMemory.get(ids[i] as number) ?? [];
    const saved = Number(pids.saved(process.pid));
    // An address space that several processes share is saved once.
    if (sharers[0] !== process) return { pid: process.pid, saved, pages: NOTHING };
    return { pid: process.pid, saved, pages: examine(process, sharers, pids, tracking) };
  });
}

function viewOf(processes: readonly FrozenProcess[]): PidView {
  const statusOf = (pid: HostPid): ProcStatus => parseStatus(readProc(pid, 'status'));
  const [root] = processes;
  return pidView(root ? (statusOf(root.pid).nsPid?.length ?? 1) - 1 : 0, () => undefined);
}

function examine(
  process: FrozenProcess,
  sharers: readonly FrozenProcess[],
  pids: PidView,
  tracking: Tracking,
): TaskMemory['pages'] {
  const { pid } = process;
  const stat = parseStat(readProc(pid, 'stat'));
  const vmas = parseSmaps(readProc(pid, 'smaps'));
  const task = { pid, stat, vmas, tree: { pids } };
  // A program that watches its memory itself may have a read of ours wait for it.
  const isKept = tracking.isKept(task);
  const foreign = rangesWhere(vmas, (vma) => isWatchedByProgram(vma, isKept));
  if (tracking.mustEnter(task)) enter(process, sharers, task, tracking);
  const own = without(scanOwnPages(pid, vmas).ranges, foreign);
  const inParent = tracking.inParent(task, own);
  return withoutParent(toStore(pid, own, vmas), inParent);
}

/** Where Stasis watches the task already, `uw` is its own. */
function isWatchedByProgram({ vmFlags }: ProcVma, isKept: boolean): boolean {
  return ['um', 'ui', ...(isKept ? [] : ['uw'])].some((flag) => vmFlags?.has(flag));
}

/** Runs what the task has to run. */
function enter(
  { pid, threads }: FrozenProcess,
  sharers: readonly FrozenProcess[],
  task: Parameters<Tracking['enter']>[0],
  tracking: Tracking,
): void {
  const [main] = threads;
  if (!main) return;
  const own = threads.map(({ tid, tracee }) => ({ tracee, status: parseStatus(readProc(tid, 'status')) }));
  for (const { tracee, status } of own) if (status.seccomp) suspendSeccomp(tracee.pid);
  const exitless = threadsWithoutExit(own.map(({ tracee, status }) => ({ tracee, seccomp: status.seccomp })));
  const others = sharers.flatMap((process) => process.threads.map(({ tracee }) => tracee));
  const status = own[0]?.status;
  if (!status) return;
  const limits = parseLimits(readProc(pid, 'limits'));
  const lift = limitsToLift({ ref: { pid, comm: status.name }, status, limits });
  using foothold = Foothold.gain(main.tracee, pid, task.vmas, {
    others: others.filter((tracee) => tracee !== main.tracee),
    exitless,
    lift,
    caught: status.sigCgt,
  });
  tracking.enter(task, foothold.remote);
}
