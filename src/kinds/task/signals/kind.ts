/** Signals: actions, the alternate stack, what is pending. The mask is the engine's: it sets it last of all. */

import type { DumpTask, DumpThread, RestoreTask, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { SS } from '../../../kernel/constants/signals.ts';
import { Sigaction, StackT } from '../../../kernel/layouts/signals.ts';
import { readMemory } from '../../../tracee/memory.ts';
import type { Program } from '../../../tracee/program.ts';
import { actionBytes, actionEntry, actionSignals } from './actions.ts';
import { pendingOf, pendingSignals, requeue } from './pending.ts';
import { restoreQuietly } from './trap.ts';

/** The size of the kernel's signal mask. */
const MASK_SIZE = 8;

function capture(task: DumpTask, program: Program): () => void {
  const actions = actionSignals().map((signal) => {
    const at = program.space(Sigaction.size);
    program.call('rt_sigaction', signal, 0, at, MASK_SIZE);
    return { signal, at };
  });
  return () => {
    task.core.tc.sigactions = actions.map(({ signal, at }) =>
      actionEntry(signal === task.bell.signal ? bellAction(task) : program.bytes(at, Sigaction.size)),
    );
  };
}

function captureStack({ core }: DumpThread, program: Program): () => void {
  const stack = program.space(StackT.size);
  program.call('sigaltstack', 0, stack);
  return () => {
    const { sp, size, flags } = StackT.decode(program.bytes(stack, StackT.size));
    // SS_ONSTACK tells where the stack pointer is, not how the stack was set up.
    core.thread_core.sas = { ss_sp: sp, ss_size: size, ss_flags: (flags & ~SS.ONSTACK) >>> 0 };
  };
}

/** The foothold has the bell ignored for the time being; its true action it keeps in its area. */
function bellAction(task: DumpTask): Uint8Array {
  return readMemory(task.pid, task.bell.actionAt, new Uint8Array(Sigaction.size));
}

/** When nothing is executed in the task any more, nothing will be held back from it either. */
function drain(task: DumpTask): void {
  task.core.tc.signals_s = pendingSignals(task, true);
}

function drainThread(thread: DumpThread): void {
  thread.core.thread_core.signals_p = pendingSignals(thread, false);
}

/** What a thread has pending of its own is queued after the actions are set: to ignore a signal throws it away. */
function rebuildThread(thread: RestoreThread): void {
  rebuildStack(thread);
  requeue(thread, pendingOf(thread).usual);
}

/** Sets every action, since the seed has inherited what we ignore. */
function rebuildActions(task: RestoreTask): void {
  const entries = task.core.tc?.sigactions ?? [];
  for (const [i, signal] of actionSignals().entries()) {
    const entry = entries[i];
    if (!entry) break;
    const program = task.batch.reserve(1, Sigaction.size);
    program.call('rt_sigaction', signal, program.data(actionBytes(entry)), 0, MASK_SIZE);
  }
}

function rebuildStack({ core, batch }: RestoreThread): void {
  const stack = core.thread_core?.sas;
  if (!stack || (stack.ss_flags & SS.DISABLE) !== 0) return;
  const program = batch.reserve(1, StackT.size);
  const flags = (stack.ss_flags & ~SS.ONSTACK) | 0;
  program.call('sigaltstack', program.data(StackT.encode({ sp: stack.ss_sp, size: stack.ss_size, flags })), 0);
}

/**
 * Signals. In phase `last` after timers, and before what limits them (limits).
 * What expires while timers are armed must not join what was pending.
 */
export const signals: TaskKind = {
  name: 'signals',
  after: ['itimers', 'posix-timers', 'stops'],
  capture,
  drain,
  rebuild: { state: rebuildActions },
  thread: { capture: captureStack, drain: drainThread, rebuild: { last: rebuildThread } },
};

/** What a trap would spoil: the very last of all kinds, after which no program may be run in the task. */
export const signalTrap: TaskKind = {
  name: 'signal-trap',
  after: ['registers', 'robust-list', 'clear-tid', 'rseq', 'signals', 'limits', 'seccomp', 'credentials'],
  thread: { rebuild: { last: restoreQuietly } },
};
