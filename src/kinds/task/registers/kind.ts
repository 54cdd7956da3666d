/** General registers and the extended state (x86-64). */

import { StasisError } from '../../../base/errors.ts';
import type { Departure, DumpThread, RestoreThread, TaskKind } from '../../../contract/contract.ts';
import type { InputOf } from '../../../images/message.ts';
import type { UserX86RegsEntry, userX86RegsEntry } from '../../../images/schema/core-x86.ts';
import { March } from '../../../images/schema/task.ts';
import { interruptedCall } from '../../../support/interrupted.ts';
import type { Program } from '../../../tracee/program.ts';
import { capturePermission, makeRoom, rebuildPermission } from './tiles.ts';
import { CARRIED, COMPONENTS, enabledFeatures, fromFpregs, toFpregs, usedFeatures, type XsaveLayout } from './xsave.ts';

const EINTR = 4n;
/**
 * Asks whether the instruction cpuid may be executed; it faults in a process that requested that (since 4.12,
 * arch_prctl(2)).
 */
const ARCH_GET_CPUID = 0x1011;
const CPUID_FAULTS = 'the process may not execute the instruction cpuid (arch_prctl, ARCH_SET_CPUID)';

/**
 * Adds cpuid(0xD, n) for every component of interest to a program. The returned function throws if the task may not
 * execute cpuid.
 */
function askLayout(program: Program): () => XsaveLayout {
  const allowed = program.attempt('arch_prctl', ARCH_GET_CPUID);
  const asked = COMPONENTS.map(({ number }) => ({ number, at: program.cpuid(0xd, number, allowed) }));
  return () => {
    if (program.result(allowed) === 0)
      throw new StasisError({ kind: 'unsupported', code: 'CPUID_FAULTS', reason: CPUID_FAULTS });
    const layout = new Map<number, { offset: number; size: number }>();
    for (const { number, at } of asked) {
      const view = program.view(at, 16);
      const size = view.getUint32(0, true);
      if (size > 0) layout.set(number, { offset: view.getUint32(4, true), size });
    }
    return layout;
  };
}

function capture(thread: DumpThread, program: Program): () => void {
  const layout = askLayout(program);
  const state = thread.tracee.getExtendedState();
  const more = usedFeatures(state) & ~CARRIED;
  // If CRIU's message lacks a field for some state (AMX tiles), the whole buffer goes into the task's extra state.
  if (more !== 0n) thread.extra.xsave = Buffer.from(state).toString('base64');
  const gpregs = imageRegisters(thread);
  return () => {
    thread.core.mtype = March.X86_64;
    thread.core.thread_info = {
      clear_tid_addr: thread.core.thread_info?.clear_tid_addr ?? 0n,
      gpregs,
      fpregs: toFpregs(state, layout()),
      tls: NO_TLS,
    };
  };
}

/** The three GDT entries of set_thread_area(2). 64-bit programs do not use them, but CRIU requires all of them. */
const NO_TLS = [12, 13, 14].map((entry_number) => ({
  entry_number,
  base_addr: 0,
  limit: 0,
  seg_32bit: false,
  contents_h: false,
  contents_l: false,
  read_exec_only: true,
  limit_in_pages: false,
  seg_not_present: true,
  usable: false,
}));

/**
 * The registers as CRIU saves them. An interrupted call is set back so that it is made again. A call that would have to
 * be made with another timeout, which only the kernel knows, fails with EINTR after a restore by CRIU
 * (kinds/task/restart does better when Stasis restores).
 */
function imageRegisters(thread: DumpThread): InputOf<typeof userX86RegsEntry> {
  const { arch } = thread.tracee;
  const found = interruptedCall(thread);
  const words = thread.registers.slice();
  const at = (name: string): number => arch.registerNames.indexOf(name);
  if (found?.again !== undefined) {
    words[at('ax')] = BigInt(found.again);
    words[at('ip')] = (words[at('ip')] ?? 0n) - 2n;
  } else if (found) {
    words[at('ax')] = BigInt.asUintN(64, -EINTR);
  }
  const entry: Record<string, bigint | number> = { mode: 1 };
  for (let i = 0; i < words.length; i++) entry[arch.registerNames[i] ?? ''] = words[i] ?? 0n;
  return entry as unknown as UserX86RegsEntry;
}

/**
 * The final registers of a thread. If its interrupted call was made again, they hold the result, from which the kernel
 * restarts the call if it has not ended.
 */
function finalRegisters(thread: RestoreThread, departure: Departure): void {
  const { call } = departure;
  const info = thread.core.thread_info;
  if (!info) {
    throw new StasisError({
      kind: 'unsupported',
      code: 'ARCHITECTURE',
      task: thread.ref,
      resource: `core-${thread.tid}.img`,
      reason: 'the image is of another processor architecture',
    });
  }
  const { arch } = thread.tracee;
  const words = new BigUint64Array(arch.registerCount);
  const saved = info.gpregs as unknown as Record<string, bigint>;
  arch.registerNames.forEach((name, i) => {
    words[i] = saved[name] ?? 0n;
  });
  // -1 if the thread was saved outside of a call, so that the kernel restarts none.
  words[arch.registerNames.indexOf('orig_ax')] = BigInt.asUintN(64, BigInt(call?.nr ?? -1));
  if (call) words[arch.registerNames.indexOf('ax')] = BigInt.asUintN(64, BigInt(call.result));
  departure.registers = words;
}

function rebuild(thread: RestoreThread): void {
  const info = thread.core.thread_info;
  if (!info) return;
  const layout = askLayout(thread.batch.reserve(COMPONENTS.length + 1, 256));
  thread.batch.after(() => {
    const { tracee } = thread;
    const template = tracee.getExtendedState();
    const whole = savedWhole(thread, template);
    if (whole) {
      makeRoom(thread, whole);
      return tracee.setExtendedState(whole);
    }
    const { state, missing } = fromFpregs(info.fpregs, template, layout());
    if (missing.length > 0) {
      throw new StasisError({
        kind: 'conflict',
        code: 'CPU_STATE',
        task: thread.ref,
        resource: `XSAVE component ${missing.join(', ')}`,
        reason: 'the program uses processor state that this processor does not have',
      });
    }
    return tracee.setExtendedState(state);
  });
}

/** The complete buffer saved by the dump, if the buffer of this processor has the same layout. */
function savedWhole(thread: RestoreThread, template: Uint8Array): Uint8Array | undefined {
  const text = thread.extra.xsave;
  if (typeof text !== 'string') return undefined;
  const state = new Uint8Array(Buffer.from(text, 'base64'));
  const same = state.length === template.length && enabledFeatures(state) === enabledFeatures(template);
  if (same) return state;
  throw new StasisError({
    kind: 'conflict',
    code: 'CPU_STATE',
    task: thread.ref,
    resource: 'extended processor state',
    reason: 'the program uses processor state (AMX) that this processor has in another form or not at all',
  });
}

/** Registers. */
export const registers: TaskKind = {
  name: 'registers',
  // The registers hold the result of the interrupted call.
  after: ['restart'],
  capture: capturePermission,
  rebuild: { state: rebuildPermission },
  thread: { capture, rebuild: { last: rebuild }, depart: finalRegisters },
};
