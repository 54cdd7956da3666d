/** Restartable sequences: the area a thread registered with rseq(2). */

import type { DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { getRseq } from '../../../tracee/ptrace.ts';
import { leaveCriticalSection } from './critical-section.ts';

function capture(thread: DumpThread): undefined {
  const config = getRseq(thread.tid);
  if (!config) return;
  thread.core.thread_core.rseq_entry = {
    rseq_abi_pointer: config.pointer,
    rseq_abi_size: config.size,
    signature: config.signature,
  };
}

function rebuild(thread: RestoreThread): void {
  const entry = thread.core.thread_core?.rseq_entry;
  if (!entry?.rseq_abi_pointer) return;
  thread.batch.call('rseq', entry.rseq_abi_pointer, entry.rseq_abi_size, 0, entry.signature);
}

/** The rseq area. */
export const rseq: TaskKind = {
  name: 'rseq',
  thread: { stopped: leaveCriticalSection, capture, rebuild: { last: rebuild } },
};
