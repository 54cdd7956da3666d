/**
 * SIGTRAP, which every program in a seed ends with. The kernel forces this signal: it unblocks it and removes an action
 * that ignores it, and other pending signals are delivered with it. So the saved state of these is restored by calls
 * that end without a trap, when no other program runs any more.
 */

import { NR, type SyscallName } from '../../../arch/syscall-numbers.ts';
import { StasisError } from '../../../base/errors.ts';
import type { RestoreThread } from '../../../contract/contract.ts';
import { ALL_SIGNALS, SIG, SIG_HANDLER, SIGSET_SIZE } from '../../../kernel/constants/signals.ts';
import { describeErrno } from '../../../kernel/syscall.ts';
import { readMemory, writeMemory } from '../../../tracee/memory.ts';
import { AREA } from '../../../tracee/program.ts';
import { setSignalMask } from '../../../tracee/ptrace.ts';
import { actionBytes, actionSignals } from './actions.ts';
import { pendingOf } from './pending.ts';

/**
 * Restores an action that ignores SIGTRAP, and pending signals that a trap would deliver. No program may run
 * afterwards.
 */
export function restoreQuietly(thread: RestoreThread): void {
  const action = thread.core.tc?.sigactions[actionSignals().indexOf(SIG.TRAP)];
  const { quiet } = pendingOf(thread);
  if (action?.sigaction !== SIG_HANDLER.IGN && quiet.length === 0) return;
  thread.batch.flush();
  setSignalMask(thread.tracee.pid, ALL_SIGNALS);
  const data = thread.remote.area + AREA.code + AREA.entries;
  if (action) {
    writeMemory(thread.tracee.pid, data, actionBytes(action));
    quietCall(thread, 'rt_sigaction', [SIG.TRAP, data, 0, SIGSET_SIZE]);
  }
  for (const { siginfo, signal, shared } of quiet) {
    const ownPid = quietCall(thread, 'getpid', []);
    writeMemory(thread.tracee.pid, data, siginfo);
    if (shared) quietCall(thread, 'rt_sigqueueinfo', [ownPid, signal, data]);
    else quietCall(thread, 'rt_tgsigqueueinfo', [ownPid, quietCall(thread, 'gettid', []), signal, data]);
  }
}

/** Makes one system call, which is traced from its entry to its exit, so that no signal is needed to stop after it. */
function quietCall(thread: RestoreThread, name: SyscallName, args: readonly number[]): number {
  const { tracee, remote } = thread;
  const at = remote.area + syscallOffset(thread);
  tracee.setRegisters(tracee.arch.oneCall(tracee.getRegisters(), at, NR[name], args));
  const result = tracee.passSyscall();
  if (result >= 0) return result;
  throw new StasisError({ kind: 'kernel', task: thread.ref, resource: name, reason: describeErrno(-result) });
}

/** The offset of a `syscall` instruction in the code page of the work area. */
function syscallOffset(thread: RestoreThread): number {
  const { tracee, remote } = thread;
  const code = readMemory(tracee.pid, remote.area, new Uint8Array(512));
  return Buffer.from(code).indexOf(tracee.arch.syscallInstruction);
}
