/** The robust futex list: what the kernel unlocks for a thread that dies (set_robust_list(2)). */
import { arenaAddress, arenaView, syscall } from '../../kernel/syscall.ts';
import type { DumpTask, RestoreTask, TaskKind } from '../contract.ts';

function capture(task: DumpTask): undefined {
  syscall('get_robust_list', task.pid, arenaAddress, arenaAddress + 8);
  task.core.thread_core.futex_rla = arenaView.getBigUint64(0, true);
  task.core.thread_core.futex_rla_len = Number(arenaView.getBigUint64(8, true));
}

function rebuild(task: RestoreTask): void {
  const thread = task.core.thread_core;
  if (!thread || thread.futex_rla_len === 0) return;
  task.batch.call('set_robust_list', thread.futex_rla, thread.futex_rla_len);
}

/** The robust futex list. */
export const robustList: TaskKind = { name: 'robust-list', capture, rebuild: { last: rebuild } };
