/** Reads pending signals from the kernel's queues and queues them again. */

import type { DumpThread, RestoreThread } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { SignalQueueEntry, signalQueueEntry } from '../../../images/schema/task.ts';
import { SI, SIG } from '../../../kernel/constants/signals.ts';
import { SIGINFO_SIZE } from '../../../kernel/layouts/signals.ts';
import { peekSignals } from '../../../tracee/ptrace.ts';

/** `si_signo` and `si_code` of a siginfo. */
export function signalOf(info: Uint8Array): { signal: number; code: number } {
  const view = new DataView(info.buffer, info.byteOffset, info.byteLength);
  return { signal: view.getInt32(0, true), code: view.getInt32(8, true) };
}

/** The signals that stop a process. */
const STOPPING: readonly number[] = [SIG.STOP, SIG.TSTP, SIG.TTIN, SIG.TTOU];

type Queue = InputOf<typeof signalQueueEntry>;

/** The queue of a thread or of its process, with the signals of it that were held back while Stasis traced the task. */
export function pendingSignals(thread: DumpThread, shared: boolean): Queue {
  // The kernel does not tell which queue a signal came from. Signals sent by tgkill(2) are for one thread.
  const held = thread.tracee.held.filter((info) => (signalOf(info).code === SI.TKILL) !== shared);
  const infos = [...peekSignals(thread.tid, shared), ...held];
  // SIGCONT discards stop signals (prepare_signal()), so a stopped process loses them in any case; a restore by criu
  // would be stopped by them.
  const stopped = thread.tracee.groupStop !== undefined;
  const kept = stopped ? infos.filter((info) => !STOPPING.includes(signalOf(info).signal)) : infos;
  return { signals: kept.map((siginfo) => ({ siginfo })) };
}

/** A signal to be queued again. */
export interface Pending {
  readonly siginfo: Uint8Array;
  readonly signal: number;
  readonly shared: boolean;
}

/** Synchronous signals, which a thread causes by what it executes. */
const SYNCHRONOUS: readonly number[] = [SIG.ILL, SIG.TRAP, SIG.BUS, SIG.FPE, SIG.SEGV, SIG.SYS];

/**
 * The signals to queue again. `quiet` are those that a trap would deliver: SIGTRAP itself, and the synchronous signals
 * of a thread, which the kernel takes before all others, blocked or not (`dequeue_synchronous_signal()`).
 */
export function pendingOf({ core }: RestoreThread): { usual: Pending[]; quiet: Pending[] } {
  const { tc, thread_core: thread } = core;
  const usual: Pending[] = [];
  const quiet: Pending[] = [];
  const sort = (queue: SignalQueueEntry | undefined, shared: boolean): void => {
    for (const { siginfo } of queue?.signals ?? []) {
      const { signal, code } = signalOf(siginfo);
      if (signal === SIG.KILL || signal === SIG.STOP) continue;
      const loud = signal === SIG.TRAP || (!shared && code > SI.USER && SYNCHRONOUS.includes(signal));
      (loud ? quiet : usual).push({ siginfo, signal, shared });
    }
  };
  sort(tc?.signals_s, true);
  sort(thread?.signals_p, false);
  return { usual, quiet };
}

/**
 * Queues signals again. The thread itself does so, since a task may send arbitrary siginfo only to itself. The signals
 * stay pending, since all are blocked.
 */
export function requeue(thread: RestoreThread, pending: readonly Pending[]): void {
  for (const { siginfo, signal, shared } of pending) {
    const program = thread.batch.reserve(3, SIGINFO_SIZE);
    const info = program.data(siginfo);
    const ownPid = program.call('getpid');
    if (shared) program.call('rt_sigqueueinfo', ownPid, signal, info);
    else program.call('rt_tgsigqueueinfo', ownPid, program.call('gettid'), signal, info);
  }
}
