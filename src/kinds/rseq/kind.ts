/** Restartable sequences: the area a thread registered with rseq(2). */
import { getRseq } from '../../tracee/ptrace.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../contract.ts';

function capture(task: DumpTask): undefined {
  const config = getRseq(task.pid);
  if (!config) return;
  task.core.thread_core.rseq_entry = {
    rseq_abi_pointer: config.pointer,
    rseq_abi_size: config.size,
    signature: config.signature,
  };
}

function rebuild(task: RestoreTask): void {
  const entry = task.core.thread_core?.rseq_entry;
  if (!entry?.rseq_abi_pointer) return;
  task.batch.call('rseq', entry.rseq_abi_pointer, entry.rseq_abi_size, 0, entry.signature);
}

/** The rseq area. */
export const rseq: TaskKind = { name: 'rseq', capture, rebuild: { last: rebuild } };
