/** System calls without a timeout that a freeze would end with EINTR. */
import { isEndless } from '../../../kernel/timed-calls.ts';
import type { Tracee } from '../../../tracee/tracee.ts';

/**
 * Makes a stopped thread continue such a call (epoll_wait, semop, sigwaitinfo, …), which would return EINTR otherwise:
 * its result is changed to that of calls which the kernel restarts if no signal handler runs. A call that a stopping
 * signal interrupted returns EINTR, as it would without Stasis.
 */
export function resumeEndlessCall(tracee: Tracee): void {
  if (tracee.groupStop !== undefined) return;
  const { arch } = tracee;
  const registers = tracee.getRegisters();
  const ended = arch.cutShort(registers);
  if (ended && isEndless(ended.nr, ended.args)) tracee.setRegisters(arch.resuming(registers));
}
