/**
 * A copy of a stopped task's memory: a child that the task makes (clone3(2)), so that the kernel shares all pages
 * copy-on-write. It never executes the task's code: it is born stopped and traced, dies with Stasis, and the only
 * instructions in front of it lead to exit_group(2).
 *
 * The task is not to notice it. It has no exit signal, so that neither SIGCHLD nor wait4(2) without __WALL tell of it;
 * it has no descriptors, so that peers see the ends of files and locks are not held; and the OOM killer ends it before
 * any task.
 */
import { type HostPid, hostPid } from '../../base/brands.ts';
import { StasisError } from '../../base/errors.ts';
import { logWarn } from '../../base/log.ts';
import { cstring } from '../../base/text.ts';
import { CLOSE_RANGE } from '../../kernel/constants/close-range.ts';
import { PR } from '../../kernel/constants/prctl.ts';
import { SIG } from '../../kernel/constants/signals.ts';
import { CLONE, CLONE_ARGS_SIZE } from '../../kernel/constants/tasks.ts';
import { trySet } from '../../kernel/files.ts';
import { readProc } from '../../kernel/proc/read.ts';
import type { ProcVma } from '../../kernel/proc/smaps.ts';
import { parseStat } from '../../kernel/proc/stat.ts';
import { childrenOf, childrenOfThread, threadsOf, unlessGone } from '../../kernel/proc/tree.ts';
import { ERRNO } from '../../kernel/syscall.ts';
import { bury } from '../../tracee/bury.ts';
import { hostPidsOf } from '../../tracee/host-pids.ts';
import { RemoteCallError } from '../../tracee/program.ts';
import { PTRACE, PTRACE_O, ptrace, tryPtrace } from '../../tracee/ptrace.ts';
import { Remote } from '../../tracee/remote.ts';
import { Tracee } from '../../tracee/tracee.ts';
import { LastReap } from './last-reap.ts';
import { COPY_COMM } from './left.ts';

/** What is needed of the task. */
export interface Original {
  readonly pid: HostPid;
  /** Runs programs in its main thread. */
  readonly remote: Remote;
  /** The signal that ends these programs. */
  readonly bell: number;
  readonly vmas: readonly ProcVma[];
  /** Whether it has seccomp filters, which are suspended. */
  readonly seccomp: boolean;
  /** Whether it is in another PID namespace than Stasis. */
  readonly isApart: boolean;
}

/** A copy. It is stopped. */
export interface Copy {
  readonly pid: HostPid;
  /** The process that made it and has to reap it. */
  readonly maker: HostPid;
  /** Who has the maker reap it if we die. */
  readonly guard: LastReap | undefined;
}

/**
 * Has a stopped task make a copy. Returns the reason if the kernel does not let it (RLIMIT_NPROC, a limit of its
 * cgroup, memory). `born` gets each child there is, even if this fails then.
 * @throws StasisError
 */
export function makeCopy(original: Original, born: (copy: Copy) => void): Copy | string {
  const { pid, remote } = original;
  const before = new Set(childrenOfThread(pid, remote.tracee.pid));
  const guard = LastReap.prepare(pid, original.vmas, mayEnter(original), !hasSilentChild(pid));
  let number: number;
  try {
    number = makeChild(remote);
  } catch (error) {
    guard?.[Symbol.dispose]();
    // It may have been interrupted behind the call.
    for (const child of childrenOfThread(pid, remote.tracee.pid)) {
      if (!before.has(child)) born({ pid: child, maker: pid, guard: undefined });
    }
    throw error;
  }
  if (number < 0) {
    guard?.[Symbol.dispose]();
    return number === -ERRNO.EAGAIN ? 'it may make no more processes' : `it makes none (${number})`;
  }
  const child = original.isApart ? numberHere(original, number, guard) : hostPid(number);
  const copy: Copy = { pid: child, maker: pid, guard };
  born(copy);
  guard?.watch(child, number);
  return settle(copy, original) ? copy : 'it did not give up its descriptors';
}

/**
 * Has the task make a child, stopped and traced. Returns its number there, or -errno.
 * @throws StasisError
 */
function makeChild(remote: Remote): number {
  const program = remote.program();
  const args = new BigUint64Array(CLONE_ARGS_SIZE.VER0 / 8);
  // A descriptor table in common costs nothing; the copy leaves it at once. A directory in common would show: setns(2)
  // of a mount namespace and programs with the set-user-ID bit want it for themselves.
  args[0] = CLONE.PTRACE | CLONE.FILES;
  const made = program.attempt('clone3', program.data(new Uint8Array(args.buffer)), CLONE_ARGS_SIZE.VER0);
  // The program of the task ends here. The result is 0 for the child only, which would go on and exit.
  program.expect(made, 0);
  // The child gets here if we are killed now. A later dump knows it by its name.
  program.attempt('prctl', PR.SET_NAME, program.data(cstring(COPY_COMM)));
  program.call('exit_group', 0);
  try {
    remote.run(program);
  } catch (error) {
    if (!(error instanceof RemoteCallError) || error.index !== made.index + 1) throw error;
  }
  return program.result(made);
}

/** Whether a process has a child whose end it is not told of by SIGCHLD. */
function hasSilentChild(pid: HostPid): boolean {
  return childrenOf(pid, threadsOf(pid)).some((child) => {
    const signal = unlessGone(() => parseStat(readProc(child, 'stat')).exitSignal);
    return signal !== undefined && signal !== SIG.CHLD;
  });
}

/** The number here of a child that is `number` in the PID namespace of its maker. @throws StasisError if it is gone */
function numberHere({ remote }: Original, number: number, guard: LastReap | undefined): HostPid {
  try {
    const [child = hostPid(number)] = hostPidsOf(remote.tracee.pid, [number]);
    return child;
  } catch (error) {
    guard?.[Symbol.dispose]();
    throw error;
  }
}

/** The PTRACE_O_* with which others can have the task run something, also if it gives itself seccomp filters later. */
function mayEnter({ remote, seccomp }: Original): number {
  const { pid } = remote.tracee;
  if (seccomp) return PTRACE_O.SUSPEND_SECCOMP;
  // It takes CAP_SYS_ADMIN.
  const may = tryPtrace(PTRACE.SETOPTIONS, pid, 0, PTRACE_O.TRACESYSGOOD | PTRACE_O.SUSPEND_SECCOMP) === 0;
  ptrace(PTRACE.SETOPTIONS, pid, 0, PTRACE_O.TRACESYSGOOD);
  return may ? PTRACE_O.SUSPEND_SECCOMP : 0;
}

/** Has a copy die with us and let go of what is the task's. Returns whether it has. */
function settle({ pid }: Copy, { remote, bell, seccomp }: Original): boolean {
  const tracee = Tracee.born(pid);
  const suspended = seccomp ? PTRACE_O.SUSPEND_SECCOMP : 0;
  ptrace(PTRACE.SETOPTIONS, pid, 0, PTRACE_O.TRACESYSGOOD | PTRACE_O.EXITKILL | suspended);
  const own = new Remote(tracee, remote.area, tracee.getRegisters(), bell);
  const { program, built } = own.do((calls) => {
    calls.attempt('prctl', PR.SET_NAME, calls.data(cstring(COPY_COMM)));
    calls.attempt('chdir', calls.data(cstring('/')));
    return calls.attempt('close_range', 0, 0xffff_ffff, CLOSE_RANGE.UNSHARE);
  });
  trySet(`/proc/${pid}/oom_score_adj`, '1000');
  tracee.forget();
  return program.result(built) === 0;
}

/** Kills a copy, and takes it from the kernel as its tracer. Its maker still has to reap it. */
export function killCopy({ pid }: Copy): void {
  try {
    bury(pid);
  } catch (error) {
    if (!(error instanceof StasisError)) throw error;
    logWarn('copy.ts', `process ${pid}: ${error.message}`);
  }
}
