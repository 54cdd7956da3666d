/** Which system call a frozen task was interrupted in. */
import { NR } from '../arch/syscall-numbers.ts';
import type { DumpThread } from '../contract/contract.ts';
import { callBehind, type TimedCall, timedCall } from '../kernel/timed-calls.ts';

/** -ERESTART_RESTARTBLOCK, positive. */
export const RESTART_BLOCK = 516;

/** A call cut off by the freeze. */
export interface Interrupted {
  /** As the registers say: restart_syscall for one that had been interrupted before. */
  readonly nr: number;
  /** The number to make the call anew with, where that is the same as going on with it. */
  readonly again: number | undefined;
  /** What is known of a call with a restart block; undefined if it has none, or cannot be told. */
  readonly timed: TimedCall | undefined;
}

/** The system call a task was in and has to go on with, if it was. */
export function interruptedCall(thread: DumpThread): Interrupted | undefined {
  const found = thread.tracee.arch.interrupted(thread.registers);
  if (!found) return undefined;
  const { nr, args, result } = found;
  if (result !== RESTART_BLOCK) return { nr, again: nr, timed: undefined };
  const timed = nr === NR.restart_syscall ? callBehind(sleepOf(thread)?.wchan ?? '', args) : timedCall(nr, args);
  return { nr, again: timed?.repeatable ? timed.nr : undefined, timed };
}

/** What was seen of the task before the freeze, if it is this very call that it was asleep in. */
export function sleepOf(thread: DumpThread): DumpThread['sleep'] {
  const found = thread.tracee.arch.interrupted(thread.registers);
  const { sleep } = thread;
  const same = found && sleep?.nr === found.nr && found.args.every((arg, i) => arg === sleep.args[i]);
  return same ? sleep : undefined;
}
