/** Calls that a freeze would end, although they wait for something without a limit. */
import { isEndless } from '../../../kernel/timed-calls.ts';
import type { Tracee } from '../../../tracee/tracee.ts';

/**
 * Has a stopped thread go on with such a call (epoll_wait, semop, sigwaitinfo, …), in which it would find EINTR otherwise:
 * its result becomes that of calls which the kernel restarts when no signal handler is run. One that a signal has stopped
 * finds EINTR as it would have without us.
 */
export function resumeEndlessCall(tracee: Tracee): void {
  if (tracee.groupStop !== undefined) return;
  const { arch } = tracee;
  const registers = tracee.getRegisters();
  const ended = arch.cutShort(registers);
  if (ended && isEndless(ended.nr, ended.args)) tracee.setRegisters(arch.resuming(registers));
}
