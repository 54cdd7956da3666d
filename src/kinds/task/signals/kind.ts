/** Signals: actions, the alternate stack, pending signals. The engine handles the mask, which it sets last of all. */

import type { Bell, DumpTask, DumpThread, RestoreTask, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { SIGSET_SIZE, SS } from '../../../kernel/constants/signals.ts';
import { Sigaction, StackT } from '../../../kernel/layouts/signals.ts';
import { readMemory } from '../../../tracee/memory.ts';
import type { Program } from '../../../tracee/program.ts';
import { ACTIONS, actionBytes, actionEntries, actionSignals, isPlain } from './actions.ts';
import { pendingOf, pendingSignals, requeue } from './pending.ts';
import { restoreQuietly } from './trap.ts';

/** The calls that ask for all actions. */
const ASKED = new Map<string, Uint8Array>();

function capture(task: DumpTask, program: Program): () => void {
  const at = program.space(ACTIONS * Sigaction.size);
  program.repeat(ASKED, at, () => {
    actionSignals().forEach((signal, i) => {
      program.call('rt_sigaction', signal, 0, at + i * Sigaction.size, SIGSET_SIZE);
    });
  });
  return () => {
    const actions = program.bytes(at, ACTIONS * Sigaction.size);
    const { bell } = task;
    if (bell) actions.set(bellAction(task, bell), actionSignals().indexOf(bell.signal) * Sigaction.size);
    task.core.tc.sigactions = actionEntries(actions);
  };
}

function captureStack({ core }: DumpThread, program: Program): () => void {
  const stack = program.space(StackT.size);
  program.call('sigaltstack', 0, stack);
  return () => {
    const { sp, size, flags } = StackT.decode(program.bytes(stack, StackT.size));
    // SS_ONSTACK says that the thread runs on the stack now, not how the stack was set up.
    core.thread_core.sas = { ss_sp: sp, ss_size: size, ss_flags: (flags & ~SS.ONSTACK) >>> 0 };
  };
}

/**
 * The task's action for the bell signal. The foothold ignores this signal meanwhile and keeps the action in the work
 * area.
 */
function bellAction({ pid }: DumpTask, { actionAt }: Bell): Uint8Array {
  return readMemory(pid, actionAt, new Uint8Array(Sigaction.size));
}

/** Runs when nothing is executed in the task any more, so no more signals are held back from it. */
function drain(task: DumpTask): void {
  task.core.tc.signals_s = pendingSignals(task, true);
}

function drainThread(thread: DumpThread): void {
  thread.core.thread_core.signals_p = pendingSignals(thread, false);
}

/**
 * Queues a thread's pending signals after the actions are set, since the kernel discards pending signals that become
 * ignored.
 */
function rebuildThread(thread: RestoreThread): void {
  rebuildStack(thread);
  requeue(thread, pendingOf(thread).usual);
}

/**
 * Sets every action, also default ones, since the seed has inherited the signals that Stasis ignores. Nearly all are
 * default ones, which share one struct in the work area: to encode 62 of them takes longer than all the calls.
 */
function rebuildActions(task: RestoreTask): void {
  const entries = task.core.tc?.sigactions ?? [];
  let plain: { readonly program: Program; readonly at: number } | undefined;
  for (const [i, signal] of actionSignals().entries()) {
    const entry = entries[i];
    if (!entry) break;
    const program = task.batch.reserve(1, Sigaction.size);
    if (isPlain(entry)) {
      if (plain?.program !== program) plain = { program, at: program.space(Sigaction.size) };
      program.call('rt_sigaction', signal, plain.at, 0, SIGSET_SIZE);
    } else {
      program.call('rt_sigaction', signal, program.data(actionBytes(entry)), 0, SIGSET_SIZE);
    }
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
 * Signals. In phase `last` the kind runs after the timers, so that signals of timers that expire while they are armed
 * do not come before pending ones, and before the limit on queued signals is lowered (limits).
 */
export const signals: TaskKind = {
  name: 'signals',
  after: ['itimers', 'posix-timers', 'stops'],
  capture,
  drain,
  rebuild: { state: rebuildActions },
  thread: { capture: captureStack, drain: drainThread, rebuild: { last: rebuildThread } },
};

/**
 * State that a trap would change. The kind runs after all others that run programs, since no program may run in the
 * task after it.
 */
export const signalTrap: TaskKind = {
  name: 'signal-trap',
  after: ['registers', 'robust-list', 'clear-tid', 'rseq', 'signals', 'limits', 'seccomp', 'credentials'],
  thread: { rebuild: { last: restoreQuietly } },
};
