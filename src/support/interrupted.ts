/** The system call that a frozen task was interrupted in. */

import { NR } from '../arch/syscall-numbers.ts';
import type { DumpThread } from '../contract/contract.ts';
import { ERESTART_RESTARTBLOCK } from '../kernel/constants/errno.ts';
import { callBehind, type TimedCall, timedCall } from '../kernel/timed-calls.ts';

/** A system call that the freeze interrupted. */
export interface Interrupted {
  /** The number in the registers; restart_syscall for a call that had been interrupted before. */
  readonly nr: number;
  /** The number with which to make the call again, if making it again continues it. */
  readonly again: number | undefined;
  /** The details of a call with a restart block; undefined if it has none, or if the call cannot be identified. */
  readonly timed: TimedCall | undefined;
}

/** The system call that a thread was in and has to continue; undefined if there is none. */
export function interruptedCall(thread: DumpThread): Interrupted | undefined {
  const found = thread.tracee.arch.interrupted(thread.registers);
  if (!found) return undefined;
  const { nr, args, result } = found;
  if (result !== ERESTART_RESTARTBLOCK) return { nr, again: nr, timed: undefined };
  const timed = nr === NR.restart_syscall ? callBehind(sleepOf(thread)?.wchan ?? '', args) : timedCall(nr, args);
  return { nr, again: timed?.repeatable ? timed.nr : undefined, timed };
}

/** The sleep that was observed before the freeze, if it was in the call that the thread is interrupted in now. */
export function sleepOf(thread: DumpThread): DumpThread['sleep'] {
  const found = thread.tracee.arch.interrupted(thread.registers);
  const { sleep } = thread;
  const same = found && sleep?.nr === found.nr && found.args.every((arg, i) => arg === sleep.args[i]);
  return same ? sleep : undefined;
}
