/**
 * SIGTRAP, the one signal a seed cannot do without: each of its programs ends with a trap. The kernel forces that
 * signal: it unblocks it, and takes away an action that ignores it. So what the saved task had of SIGTRAP pending or
 * ignored is put back by calls that end without a trap, when nothing else is run any more.
 */
import { StasisError } from '../../base/errors.ts';
import { SIG, SIG_HANDLER } from '../../kernel/constants/signals.ts';
import { NR, type SyscallName } from '../../kernel/nr.ts';
import { describeErrno } from '../../kernel/syscall.ts';
import { readMemory, writeMemory } from '../../tracee/memory.ts';
import { AREA } from '../../tracee/program.ts';
import { PTRACE, type Stop, setSignalMask } from '../../tracee/ptrace.ts';
import type { RestoreTask } from '../contract.ts';
import { actionBytes, actionSignals } from './actions.ts';
import { signalOf } from './pending.ts';

const EVERYTHING = 0xffff_ffff_ffff_ffffn;
const MASK_SIZE = 8;

function trapsOf(task: RestoreTask): { siginfo: Uint8Array; shared: boolean }[] {
  const { tc, thread_core: thread } = task.core;
  const isTrap = ({ siginfo }: { siginfo: Uint8Array }): boolean => signalOf(siginfo).signal === SIG.TRAP;
  const shared = (tc?.signals_s?.signals ?? []).filter(isTrap);
  const own = (thread?.signals_p?.signals ?? []).filter(isTrap);
  return [
    ...shared.map(({ siginfo }) => ({ siginfo, shared: true })),
    ...own.map(({ siginfo }) => ({ siginfo, shared: false })),
  ];
}

/** Puts back an action that ignores SIGTRAP, and what is pending of it. Afterwards the task must run no programs. */
export function restoreTrap(task: RestoreTask): void {
  const action = task.core.tc?.sigactions[actionSignals().indexOf(SIG.TRAP)];
  const pending = trapsOf(task);
  if (action?.sigaction !== SIG_HANDLER.IGN && pending.length === 0) return;
  task.batch.flush();
  setSignalMask(task.pid, EVERYTHING);
  const data = task.seed.remote.area + AREA.code + AREA.entries;
  if (action) {
    writeMemory(task.pid, data, actionBytes(action));
    quietCall(task, 'rt_sigaction', [SIG.TRAP, data, 0, MASK_SIZE]);
  }
  for (const { siginfo, shared } of pending) {
    const self = quietCall(task, 'getpid', []);
    writeMemory(task.pid, data, siginfo);
    if (shared) quietCall(task, 'rt_sigqueueinfo', [self, SIG.TRAP, data]);
    else quietCall(task, 'rt_tgsigqueueinfo', [self, self, SIG.TRAP, data]);
  }
}

/** One system call, watched from its entry to its exit, so that no signal has to tell its end. */
function quietCall(task: RestoreTask, name: SyscallName, args: readonly number[]): number {
  const { tracee, remote } = task.seed;
  const at = remote.area + syscallOffset(task);
  tracee.setRegisters(tracee.arch.oneCall(tracee.getRegisters(), at, NR[name], args));
  const inSyscall = (stop: Stop): boolean => stop.kind === 'syscall';
  tracee.resumeUntil(PTRACE.SYSCALL, inSyscall);
  tracee.resumeUntil(PTRACE.SYSCALL, inSyscall);
  const result = tracee.arch.result(tracee.getRegisters());
  if (result >= 0) return result;
  throw new StasisError({ kind: 'kernel', task: task.ref, resource: name, reason: describeErrno(-result) });
}

/** Where the code page of the work area has a syscall instruction. */
function syscallOffset(task: RestoreTask): number {
  const { tracee, remote } = task.seed;
  const code = readMemory(task.pid, remote.area, new Uint8Array(512));
  return Buffer.from(code).indexOf(tracee.arch.syscallInstruction);
}
