/** Pending signals: read from the queues, and put back into them. */
import type { InputOf } from '../../images/message.ts';
import type { SignalQueueEntry, signalQueueEntry } from '../../images/schema/task.ts';
import { SI, SIG } from '../../kernel/constants/signals.ts';
import { SIGINFO_SIZE } from '../../kernel/layouts/signals.ts';
import { peekSignals } from '../../tracee/ptrace.ts';
import type { DumpTask, RestoreTask } from '../contract.ts';

/** `si_signo` and `si_code` of a siginfo. */
export function signalOf(info: Uint8Array): { signal: number; code: number } {
  const view = new DataView(info.buffer, info.byteOffset, info.byteLength);
  return { signal: view.getInt32(0, true), code: view.getInt32(8, true) };
}

type Queue = InputOf<typeof signalQueueEntry>;

/** The queue of a thread, or of its whole process, and what of it was held back from the task while it was ours. */
export function pendingSignals(task: DumpTask, shared: boolean): Queue {
  // Which queue a signal came from is not told with it; tgkill is what aims at one thread.
  const held = task.tracee.held.filter((info) => (signalOf(info).code === SI.TKILL) !== shared);
  const infos = [...peekSignals(task.pid, shared), ...held];
  return { signals: infos.map((siginfo) => ({ siginfo })) };
}

/**
 * Queues the signals again, from within the task: only to itself may a task send whatever siginfo it likes. They stay
 * pending, as everything is blocked. Signals for which `skip` says so are left out.
 */
export function requeue(
  task: RestoreTask,
  queue: SignalQueueEntry,
  shared: boolean,
  skip: (signal: number) => boolean,
): void {
  for (const { siginfo } of queue.signals) {
    const { signal } = signalOf(siginfo);
    if (signal === SIG.KILL || signal === SIG.STOP || skip(signal)) continue;
    const program = task.batch.reserve(2, SIGINFO_SIZE);
    const info = program.data(siginfo);
    const self = program.call('getpid');
    if (shared) program.call('rt_sigqueueinfo', self, signal, info);
    else program.call('rt_tgsigqueueinfo', self, self, signal, info);
  }
}
