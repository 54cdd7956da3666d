/** The word a thread clears and wakes when it ends (set_tid_address(2), CLONE_CHILD_CLEARTID). */

import type { DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { PR } from '../../../kernel/constants/prctl.ts';
import type { Program } from '../../../tracee/program.ts';

function capture({ core, tracee }: DumpThread, program: Program): () => void {
  const at = program.space(8);
  // Needs CONFIG_CHECKPOINT_RESTORE. Without it the address is unknown, and the thread cannot be joined after a
  // restore.
  const asked = program.attempt('prctl', PR.GET_TID_ADDRESS, at);
  return () => {
    const address = program.result(asked) === 0 ? program.view(at, 8).getBigUint64(0, true) : 0n;
    const { coreField } = tracee.arch;
    const info = core[coreField];
    if (info) core[coreField] = { ...info, clear_tid_addr: address };
  };
}

function rebuild(thread: RestoreThread): void {
  const address = thread.core[thread.tracee.arch.coreField]?.clear_tid_addr;
  if (address) thread.batch.call('set_tid_address', address);
}

/** The clear-tid address. The kind runs after `registers`, which makes the field of the architecture. */
export const clearTid: TaskKind = { name: 'clear-tid', thread: { capture, rebuild: { last: rebuild } } };
