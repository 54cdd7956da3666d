/** The robust futex list: the futexes that the kernel unlocks when a thread dies (set_robust_list(2)). */

import type { DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { arenaAddress, arenaView, syscall } from '../../../kernel/syscall.ts';

function capture(thread: DumpThread): undefined {
  syscall('get_robust_list', thread.tid, arenaAddress, arenaAddress + 8);
  thread.core.thread_core.futex_rla = arenaView.getBigUint64(0, true);
  thread.core.thread_core.futex_rla_len = Number(arenaView.getBigUint64(8, true));
}

function rebuild({ core, batch }: RestoreThread): void {
  const thread = core.thread_core;
  if (!thread || thread.futex_rla_len === 0) return;
  batch.call('set_robust_list', thread.futex_rla, thread.futex_rla_len);
}

/** The robust futex list. */
export const robustList: TaskKind = { name: 'robust-list', thread: { capture, rebuild: { last: rebuild } } };
