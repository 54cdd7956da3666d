/**
 * The memory of a tree that goes on while it is saved (`dump --leave-running`). Tasks with much private memory make a
 * copy of themselves while they are stopped (memory/live/copy.ts): their pages are read from it when they run again.
 * All other tasks are saved while they are stopped, and so is everybody of whom no copy can be made.
 */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { InterruptedError, StasisError } from '../../base/errors.ts';
import { logInfo, logWarn } from '../../base/log.ts';
import type { Notices } from '../../base/notice.ts';
import type { DumpTask, TaskPages } from '../../contract/contract.ts';
import { W } from '../../kernel/constants/ptrace.ts';
import { namespaceOf } from '../../kernel/namespace.ts';
import { nap } from '../../kernel/nap.ts';
import { parseLimits } from '../../kernel/proc/limits.ts';
import { readProc, readProcIfAny } from '../../kernel/proc/read.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { type ProcStatus, parseStatus } from '../../kernel/proc/status.ts';
import { unlessGone } from '../../kernel/proc/tree.ts';
import { privateBytes, WORTH_A_COPY } from '../../memory/live/amount.ts';
import { type Copy, killCopy, makeCopy } from '../../memory/live/copy.ts';
import { roomFor } from '../../memory/live/room.ts';
import { CopySource, ReadBefore } from '../../memory/live/source.ts';
import { rangesApart, vmasApart, whyNoCopy } from '../../memory/live/worth.ts';
import type { KeptMemory, Pages } from '../../memory/pages.ts';
import { common } from '../../memory/plan/ranges.ts';
import { scanOwnPages } from '../../memory/scan.ts';
import { rangesWhere } from '../../memory/tracking/changes.ts';
import { limitsToLift } from '../../tracee/headroom.ts';
import { retryWhileStranded } from '../../tracee/stranded.ts';
import { entering } from '../enter.ts';
import type { DumpClock } from '../stats.ts';
import { uptime } from './inventory.ts';

/** Bytes of memory that are left to others in any case. */
const RESERVE = 64 << 20;
/** How long a process has to be there before a copy is made of it, in ticks. */
const OLD_ENOUGH = 100;
/** Nanoseconds that the parent of an orphan has to reap it by itself. */
const ORPHAN_PAUSE = 20_000_000;
/** How often a process is asked to reap its copy, if something fails. */
const MOST_ATTEMPTS = 3;
/** Seconds that a process may take to stop when it is to reap its copy. */
const PATIENCE = 5;

/** Of which tasks copies are made. */
export interface LiveOptions {
  /** How many bytes of private memory they have at least. */
  readonly least: number;
  /** How long they have been there, in ticks. */
  readonly age: number;
}

export class LiveMemory implements KeptMemory, Disposable {
  readonly #options: LiveOptions;
  readonly #kept = new Map<HostPid, { readonly copy: Copy; readonly vmas: readonly ProcVma[] }>();
  /** Every copy that was made, until it has been reaped. */
  readonly #copies = new Set<Copy>();
  #members: ReadonlySet<number> | undefined;
  /** How much more memory may be needed at most while the copies are there. */
  #bytes = 0;

  constructor(options: LiveOptions = { least: WORTH_A_COPY, age: OLD_ENOUGH }) {
    this.#options = options;
  }

  /** Whether the memory of any task is kept. */
  get isUsed(): boolean {
    return this.#kept.size > 0;
  }

  /**
   * Has a task that is stopped, and has a foothold with this bell, make a copy of itself, if it can. To be called if
   * none of its threads is one that seccomp would not let leave by itself, since the copy might not end then, and if no
   * limits are raised, since code of Stasis would be in the copy.
   * @throws StasisError
   */
  take({ pid, stat, vmas, remote, status, tracee, captured, tree }: DumpTask, bell: number): void {
    const bytes = privateBytes(vmas);
    // A process in a group stop stays in it when it is to reap the copy.
    if (bytes < this.#options.least || captured.vm || tracee.groupStop !== undefined) return;
    this.#members ??= new Set(tree.tasks.map((task) => task.pid));
    const why = whyNoCopy(vmas) ?? this.#whyTooYoung(stat.starttime) ?? whyNoChild(pid) ?? this.#whyNoRoom(pid, bytes);
    const isApart = (status.nsPid?.length ?? 1) > 1;
    const born = (copy: Copy): void => void this.#copies.add(copy);
    const copy = why ?? makeCopy({ pid, remote, bell, vmas, seccomp: status.seccomp !== 0, isApart }, born);
    const size = `${Math.round(bytes / 2 ** 20)} MiB`;
    if (typeof copy === 'string') {
      logInfo(`task ${pid} is stopped until its memory (${size}) is stored: ${copy}`);
      return;
    }
    this.#bytes += bytes;
    this.#kept.set(pid, { copy, vmas });
    logInfo(
      `task ${pid}: process ${copy.pid} keeps its memory as it is; that may take ${size} more until it is stored`,
    );
  }

  /**
   * A process that has just begun is often about to end, and leaves its copy to its init or a subreaper, which then
   * hear of it. `start` is in ticks, of which there are 100 in a second whatever the kernel's are (USER_HZ).
   */
  #whyTooYoung(start: number): string | undefined {
    return Number(uptime()) / 10_000 - start < this.#options.age ? 'it has just begun' : undefined;
  }

  /** Why memory is not there for all that could be written to meanwhile. */
  #whyNoRoom(pid: HostPid, bytes: number): string | undefined {
    const room = roomFor(pid) - this.#bytes - RESERVE;
    return room < bytes ? 'there may be not enough memory for a copy' : undefined;
  }

  keep(pid: HostPid, { plain, hidden, same, inParent = [] }: TaskPages): CopySource | undefined {
    const kept = this.#kept.get(pid);
    if (!kept) return undefined;
    const all = [...plain, ...hidden, ...(same?.ranges ?? []), ...inParent].sort((a, b) => a.start - b.start);
    return CopySource.open(kept.copy.pid, new ReadBefore(pid, common(all, rangesApart(kept.vmas))));
  }

  keepAll(pid: HostPid): CopySource | undefined {
    const kept = this.#kept.get(pid);
    if (!kept) return undefined;
    const apart = vmasApart(kept.vmas);
    const isVdso = ({ name }: ProcVma): boolean => name === '[vdso]'; // which is stored whole
    const others = apart.filter((vma) => !isVdso(vma));
    const own = others.length === 0 ? [] : scanOwnPages(pid, others, rangesWhere(others)).ranges;
    const all = [...own, ...rangesWhere(apart, isVdso)].sort((a, b) => a.start - b.start);
    return CopySource.open(kept.copy.pid, new ReadBefore(pid, all));
  }

  /** Stores what is kept, while the tree goes on, and ends the copies. @throws StasisError */
  store(pages: Pages, clock: DumpClock, notices: Notices): void {
    logInfo(`the tree goes on; until its memory is stored that may take ${this.#bytes} bytes more`);
    pages.storeKept();
    clock.figures.frozen += this.#end(notices) * 1000;
  }

  /**
   * Ends the copies. Each process that has made one is stopped for a moment, since only it can reap it.
   * @returns the milliseconds for which the process was stopped that took longest
   * @throws InterruptedError
   */
  #end(notices: Notices): number {
    let longest = 0;
    for (const copy of this.#copies) {
      const { isReaped, took } = this.#endOne(copy);
      longest = Math.max(longest, took);
      if (isReaped || copy.guard) continue;
      const reason = `a zombie is left among its children (${copy.pid}), which it does not see`;
      notices.add({ task: { pid: copy.maker }, reason, remedy: 'the next dump removes it' });
    }
    return longest;
  }

  /** Ends a copy. Returns whether nothing is left of it, and for how many milliseconds its maker was stopped. */
  #endOne(copy: Copy): { readonly isReaped: boolean; readonly took: number } {
    killCopy(copy);
    const began = performance.now();
    const isReaped = reap(copy.maker, copy.pid) && this.#reapOrphan(copy.pid);
    this.#copies.delete(copy);
    // Otherwise the guard has the maker reap it when we have ended: we may be in its way.
    if (isReaped) copy.guard?.[Symbol.dispose]();
    return { isReaped, took: performance.now() - began };
  }

  /** A copy whose maker has ended belongs to a subreaper. If that is of the tree, it may not expect any child. */
  #reapOrphan(pid: HostPid): boolean {
    const ppid = unlessGone(() => parseStat(readProc(pid, 'stat')).ppid);
    if (ppid === undefined || !this.#members?.has(ppid)) return true;
    nap(ORPHAN_PAUSE);
    return reap(hostPid(ppid), pid);
  }

  [Symbol.dispose](): void {
    for (const copy of this.#copies) {
      if (!this.#endOne(copy).isReaped) logWarn('live.ts', `task ${copy.maker}: zombie ${copy.pid} is left with it`);
    }
  }
}

/** A child would be born into other namespaces than the task's, and perhaps be the init of one. */
function whyNoChild(pid: HostPid): string | undefined {
  const differs = ['pid', 'time'].some((type) => {
    const own = namespaceOf(pid, type);
    return own !== undefined && own !== unlessGone(() => namespaceOf(pid, `${type}_for_children`));
  });
  return differs ? 'its children are born in other namespaces' : undefined;
}

/**
 * Has a process that may run reap a child that is dead. Returns whether there is none of that number any more.
 * @throws InterruptedError
 */
function reap(maker: HostPid, child: HostPid): boolean {
  for (let attempt = 1; ; attempt++) {
    try {
      const number = numberAt(maker, child);
      return number === undefined || retryWhileStranded(() => haveWait(maker, number));
    } catch (error) {
      if (!(error instanceof StasisError) || error instanceof InterruptedError) throw error;
      // If the process has ended, its init or subreaper has its children.
      if (error.kind === 'gone') return true;
      logWarn('live.ts', `task ${maker} could not reap process ${child}: ${error.message}`);
      if (attempt === MOST_ATTEMPTS) return false;
    }
  }
}

/** Has a process call wait4(2). Returns whether it has reaped the child of this number. */
function haveWait(maker: HostPid, number: number): boolean {
  return entering(maker, PATIENCE, limitsFor, ({ remote }) => {
    const { program, built } = remote.do((calls) => calls.attempt('wait4', number, 0, W.NOHANG | W.ALL, 0));
    return program.result(built) === number;
  });
}

const limitsFor = (pid: HostPid, status: ProcStatus): ReturnType<typeof limitsToLift> =>
  limitsToLift({ ref: { pid, comm: status.name }, status, limits: parseLimits(readProc(pid, 'limits')) });

/** The number of a child in the PID namespace of its parent; undefined if it is not its child (any more). */
function numberAt(maker: HostPid, child: HostPid): number | undefined {
  const own = readProcIfAny(maker, 'status');
  const level = own ? (parseStatus(own).nsPid?.length ?? 1) - 1 : 0;
  return unlessGone(() => {
    if (parseStat(readProc(child, 'stat')).ppid !== maker) return undefined;
    return parseStatus(readProc(child, 'status')).nsPid?.[level] ?? child;
  });
}

/**
 * Has tasks reap copies that a killed Stasis, and its guard, have left behind; they may be about to end.
 * @throws InterruptedError
 */
export function reapLeftCopies(left: readonly HostPid[]): void {
  for (const pid of left) {
    const end = performance.now() + PATIENCE * 1000;
    for (;;) {
      const stat = unlessGone(() => parseStat(readProc(pid, 'stat')));
      if (stat?.state === 'Z') reap(hostPid(stat.ppid), pid);
      if (!stat || stat.state === 'Z' || performance.now() > end) break;
      nap(ENDING_PAUSE);
    }
  }
}

/** Nanoseconds between two looks whether a process has ended. */
const ENDING_PAUSE = 1_000_000;
