/** General registers and the extended state: floating-point and vector registers. */

import type { StateLayout } from '../../../arch/arch.ts';
import { fromBase64, toBase64 } from '../../../base/base64.ts';
import { StasisError } from '../../../base/errors.ts';
import type { Departure, DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import { interruptedCall } from '../../../support/interrupted.ts';
import type { Program } from '../../../tracee/program.ts';
import { capturePermission, makeRoom, rebuildPermission } from './permission.ts';

/** Has the thread ask the processor for the layout of the state. The reader throws if it may not ask. */
function askLayout({ tracee }: DumpThread | RestoreThread, program: Program): () => StateLayout {
  const { askLayout: ask, layoutRefused } = tracee.arch.extendedState;
  const read = ask(program);
  return () => {
    const layout = read();
    if (!layout) throw new StasisError({ kind: 'unsupported', ...layoutRefused });
    return layout;
  };
}

function capture(thread: DumpThread, program: Program): () => void {
  const { arch } = thread.tracee;
  const layout = askLayout(thread, program);
  const state = thread.tracee.getExtendedState();
  // If CRIU's message lacks a field for some state, the whole buffer goes into the task's own state.
  if (arch.extendedState.exceedsImage(state)) {
    thread.ownState[arch.extendedState.ownName] = toBase64(state);
  }
  // A call that would have to be made with another timeout, which only the kernel knows, fails with EINTR after a
  // restore by CRIU (kinds/task/restart does better when Stasis restores).
  const general = arch.toImage(thread.registers, interruptedCall(thread));
  return () => {
    thread.core.mtype = arch.march;
    thread.core[arch.coreField] = {
      clear_tid_addr: thread.core[arch.coreField]?.clear_tid_addr ?? 0n,
      ...arch.threadInfo(general, arch.extendedState.toImage(state, layout())),
    };
  };
}

/**
 * The final registers of a thread. If its interrupted call was made again, they hold the result, from which the kernel
 * restarts the call if it has not ended.
 */
function finalRegisters(thread: RestoreThread, departure: Departure): void {
  const { arch } = thread.tracee;
  const info = thread.core[arch.coreField];
  if (!info) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'ARCHITECTURE',
      task: thread.ref,
      resource: `core-${thread.tid}.img`,
      reason: 'the image is of another processor architecture',
    });
  }
  departure.registers = arch.fromImage(info, departure.call);
}

function rebuild(thread: RestoreThread): void {
  const { coreField, extendedState } = thread.tracee.arch;
  const info = thread.core[coreField];
  if (!info) return;
  const layout = askLayout(thread, thread.batch.reserve(extendedState.layoutCalls, 256));
  thread.batch.after(() => {
    const { tracee } = thread;
    const template = tracee.getExtendedState();
    const whole = savedWhole(thread, template);
    if (whole) {
      makeRoom(thread, whole);
      return tracee.setExtendedState(whole);
    }
    const { state, missing } = extendedState.fromImage(info, template, layout());
    if (missing.length > 0) {
      throw new StasisError({
        kind: 'conflict',
        code: 'CPU_STATE',
        task: thread.ref,
        resource: `component ${missing.join(', ')}`,
        reason: 'the program uses processor state that this processor does not have',
      });
    }
    return tracee.setExtendedState(state);
  });
}

/** The complete buffer saved by the dump, if the buffer of this processor has the same layout. */
function savedWhole(thread: RestoreThread, template: Uint8Array): Uint8Array | undefined {
  const { ownName, isLike } = thread.tracee.arch.extendedState;
  const text = thread.ownState[ownName];
  if (typeof text !== 'string') return undefined;
  const state = fromBase64(text);
  if (isLike(state, template)) return state;
  throw new StasisError({
    kind: 'conflict',
    code: 'CPU_STATE',
    task: thread.ref,
    resource: 'extended processor state',
    reason: 'the program uses processor state that this processor has in another form or not at all',
  });
}

/** Registers. */
export const registers: TaskKind = {
  name: 'registers',
  // They tell what came of the interrupted call.
  after: ['restart'],
  capture: capturePermission,
  rebuild: { state: rebuildPermission },
  thread: { capture, rebuild: { last: rebuild }, depart: finalRegisters },
};
