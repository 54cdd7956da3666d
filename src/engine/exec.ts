/** Makes one system call in another process, which then continues as before. */

import type { LiftedLimit } from '../arch/arch.ts';
import { NR, type SyscallName } from '../arch/syscall-numbers.ts';
import type { HostPid } from '../base/brands.ts';
import { StasisError } from '../base/errors.ts';
import { cstring } from '../base/text.ts';
import { ERESTART_RESTARTBLOCK } from '../kernel/constants/errno.ts';
import { RLIMIT_NAMES } from '../kernel/constants/tasks.ts';
import { requirePageSize } from '../kernel/page-size.ts';
import { parseLimits } from '../kernel/proc/limits.ts';
import { readProc } from '../kernel/proc/read.ts';
import type { ProcStatus } from '../kernel/proc/status.ts';
import { timedCall } from '../kernel/timed-calls.ts';
import { headroomObstacles, limitsToLift } from '../tracee/headroom.ts';
import { withOutcome } from '../tracee/interruption.ts';
import type { Program } from '../tracee/program.ts';
import { retryWhileStranded } from '../tracee/stranded.ts';
import { entering } from './enter.ts';

/** An argument: a value, or a pointer to bytes of ours in the other process. */
export type ExecArgument =
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'string'; readonly text: string }
  /** A zeroed buffer the call may fill; its contents are answered. */
  | { readonly kind: 'buffer'; readonly size: number };

/** The result of the call, a value or -errno, and the contents of the buffers after it. */
export interface ExecOutcome {
  readonly result: number;
  readonly buffers: readonly Uint8Array[];
}

/** Calls that are refused, since the process could not continue as before. */
const REFUSED: ReadonlySet<string> = new Set([
  ...['exit', 'exit_group', 'execve', 'execveat', 'rt_sigreturn', 'restart_syscall'],
  ...['fork', 'vfork', 'clone', 'clone3'],
]);
const LARGEST_BUFFER = 32 * 1024;

/**
 * Runs a system call by name in the process. `patience`: seconds it may take before it is interrupted.
 * @throws StasisError for an unknown or refused call, a process that cannot be traced, a call that does not return
 * @throws InterruptedError
 */
export function execRemote(pid: HostPid, name: string, args: readonly ExecArgument[], patience: number): ExecOutcome {
  const nr = numberOf(name);
  if (args.length > 6) throw usage(name, 'a system call takes six arguments at most');
  requirePageSize();
  try {
    return retryWhileStranded(() => execOnce(pid, nr, args, patience));
  } catch (error) {
    throw withOutcome(error, `task ${pid} goes on where it was`);
  }
}

function execOnce(pid: HostPid, nr: number, args: readonly ExecArgument[], patience: number): ExecOutcome {
  const lift = (tgid: HostPid, status: ProcStatus): LiftedLimit[] => headroomFor(tgid, nr, status);
  return entering(pid, patience, lift, (foothold, interrupted) => {
    const program = foothold.remote.program();
    const buffers: { at: number; size: number }[] = [];
    const words = args.map((argument) => place(program, argument, buffers));
    if (interrupted?.result === ERESTART_RESTARTBLOCK) requireOtherCall(pid, nr, words);
    const call = program.attemptNumber(nr, ...words);
    foothold.runGuarded(program, patience * 1000);
    return {
      result: program.result(call),
      buffers: buffers.map(({ at, size }) => program.bytes(at, size).slice()),
    };
  });
}

/** Limits that the process has reached and that are raised meanwhile. @throws StasisError if they cannot be */
function headroomFor(pid: HostPid, nr: number, status: ProcStatus): LiftedLimit[] {
  const allowance = { ref: { pid }, status, limits: parseLimits(readProc(pid, 'limits')) };
  const [obstacle] = headroomObstacles(allowance);
  if (obstacle) throw obstacle;
  const lift = limitsToLift(allowance);
  const [first] = lift;
  if (first && LIMIT_CALLS.includes(nr)) {
    const resource = `RLIMIT_${RLIMIT_NAMES[first.resource]}`;
    const reason = 'the process has reached this limit, which would be raised during the call, and restored after it';
    const remedy = 'prlimit(1) reads and sets the limits of a process from outside';
    throw new StasisError({ kind: 'usage', task: { pid }, resource, reason, remedy });
  }
  return lift;
}

/** Calls about limits, which see those that are raised for the moment. */
const LIMIT_CALLS: readonly number[] = [NR.getrlimit, NR.setrlimit, NR.prlimit64];

/**
 * Refuses a call that would overwrite the restart block of the thread. A thread has one restart block; if it sleeps in
 * a call that is continued through it (nanosleep, poll, futex with a timeout), another such call would destroy the
 * deadline.
 * @throws StasisError
 */
function requireOtherCall(pid: HostPid, nr: number, words: readonly (number | bigint)[]): void {
  const timed = timedCall(
    nr,
    words.map((word) => BigInt.asUintN(64, BigInt(word))),
  );
  // A futex call without a timeout does not use the restart block.
  if (!timed || (nr === NR.futex && !timed.args[3])) return;
  throw new StasisError({
    kind: 'conflict',
    code: 'CALL_USES_RESTART_BLOCK',
    task: { pid },
    reason: 'it sleeps in a call whose end only the kernel knows, and this call would make the kernel forget it',
    remedy: 'use a call that keeps no restart block, such as ppoll or pselect6, or another thread of the process',
  });
}

function numberOf(name: string): number {
  if (!Object.hasOwn(NR, name)) throw usage(name, 'there is no system call of this name');
  if (REFUSED.has(name)) throw usage(name, 'the process could not go on after this call');
  return NR[name as SyscallName];
}

function usage(resource: string, reason: string): StasisError {
  return new StasisError({ kind: 'usage', resource, reason, remedy: 'see stasis exec --help' });
}

function place(program: Program, argument: ExecArgument, buffers: { at: number; size: number }[]): number | bigint {
  switch (argument.kind) {
    case 'number':
      return BigInt.asIntN(64, argument.value);
    case 'string':
      return program.data(cstring(argument.text));
    case 'buffer': {
      if (argument.size > LARGEST_BUFFER)
        throw usage(`@${argument.size}`, `buffers hold ${LARGEST_BUFFER} bytes at most`);
      const at = program.space(argument.size);
      buffers.push({ at, size: argument.size });
      return at;
    }
  }
}
